"""How steep an activation function is where a network uses it."""

import types
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor

# Known activation functions are steepest well inside this range.
_GRID = np.linspace(-12.0, 12.0, 2401, dtype="float32")
# Layers that are just an activation function.
_LAYERS = (
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
    keras.layers.Softmax,
)


# For Keras' own functions: how steep they are, and whether they are
# elementwise.
_steepness: dict[Any, np.ndarray] = {}
_elementwise: dict[Any, bool] = {}


class Slope:
    """Slope of an elementwise function, relative to its steepest slope.

    `|φ'(z)| / max |φ'|`, of the shape of `z`: 0 where nothing is passed back, 1
    where everything is.

    Args:
        function: Maps a tensor to a tensor of the same shape.
        steepest: `max |φ'|`.
    """

    def __init__(
        self, function: Callable[[Tensor], Tensor], steepest: float
    ) -> None:
        self._function = function
        self._steepest = steepest

    def __call__(self, z: Tensor) -> Tensor:
        return ops.abs(_derivative(self._function, z)) / self._steepest


def slope_of(function: Callable[[Tensor], Tensor]) -> Slope | None:
    """The slope of an elementwise function; `None` for a straight line."""
    steepness = _remembered(_steepness, function, _steepness_of)
    if steepness.min() == steepness.max():
        return None
    return Slope(function, float(steepness.max()))


def is_activation(layer: Any) -> bool:
    """Whether a layer is just an activation function."""
    return isinstance(layer, _LAYERS)


def activation_of(
    layer: Any, attribute: str = "activation"
) -> Callable[[Tensor], Tensor] | None:
    """The activation function of a layer, or the layer if it is one itself."""
    if is_activation(layer):
        return layer.call
    function = getattr(layer, attribute, None)
    # A layer that is given as the function is treated as a layer.
    is_layer = isinstance(function, keras.layers.Layer)
    return function if callable(function) and not is_layer else None


def is_elementwise(function: Callable[[Tensor], Tensor]) -> bool:
    """Whether a function gives half the entries the same results as all."""
    return _remembered(_elementwise, function, _is_elementwise)


def _remembered(
    known: dict[Any, Any],
    function: Callable[[Tensor], Tensor],
    find: Callable[[Any], Any],
) -> Any:
    """Computes a property of a function; for Keras' own functions only once."""
    module = getattr(function, "__module__", None) or ""
    is_fixed = isinstance(function, types.FunctionType)
    if not is_fixed or module.split(".")[0] != "keras":
        return find(function)
    if function not in known:
        known[function] = find(function)
    return known[function]


def _steepness_of(function: Callable[[Tensor], Tensor]) -> np.ndarray:
    derivative = _backend.compiled(
        lambda z: ops.abs(_derivative(function, z)), once=True
    )
    return _backend.on_host(derivative(ops.convert_to_tensor(_GRID)))


def _is_elementwise(function: Callable[[Tensor], Tensor]) -> bool:
    entries = np.linspace(-2.0, 2.0, 8, dtype="float32").reshape(2, 4)
    both = _backend.compiled(
        lambda *parts: [function(part) for part in parts], once=True
    )
    try:
        whole, half = map(
            _backend.on_host,
            both(*map(ops.convert_to_tensor, (entries, entries[:, :2]))),
        )
    except Exception:  # a user's function may raise anything for these shapes
        return False
    return whole.shape == entries.shape and np.allclose(
        whole[:, :2], half, rtol=1e-5, atol=1e-6
    )


def _derivative(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    _, [derivative] = _backend.value_and_grad(
        lambda tensors: ops.sum(function(tensors[0])), [ops.stop_gradient(z)]
    )
    return derivative
