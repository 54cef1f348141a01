"""Autodiff compared with differences: is this gradient right?"""

import contextlib
import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batches import dense_inputs, hint_for_wrapper
from keras_concepts._shown_as_text import show_text
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    checked_bool,
    checked_int,
    checked_number,
    checked_seed,
)
from keras_concepts.instruments.owners import owner_names


@dataclasses.dataclass(frozen=True)
class GradientCheck:
    """The entry where autodiff and differences disagree most.

    It is true in an `if` or `assert` if even this entry agrees.

    Attributes:
        name: The tensor: the path of a weight (`layer (2)/...` for the second
            with the same path), `y_pred` or `inputs`.
        index: The entry of the tensor.
        autodiff: Result of the backend's automatic differentiation.
        numeric: Result of central differences.
        absolute_error: `abs(autodiff - numeric)`.
        relative_error: The same, divided by the largest gradient of the tensor.
        allowed: The largest absolute error that counts as agreement.
        entries: Number of entries compared.
    """

    name: str
    index: tuple[int, ...]
    autodiff: float
    numeric: float
    absolute_error: float
    relative_error: float
    allowed: float
    entries: int

    @property
    def ok(self) -> bool:
        """Whether every gradient agrees."""
        return self.absolute_error <= self.allowed

    _repr_pretty_ = show_text

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "agree" if self.ok else "DISAGREE"
        return (
            f"Gradients {verdict} ({self.entries} entries). Worst: "
            f"{self.name}{list(self.index)}: autodiff {self.autodiff:.6g}, "
            f"differences {self.numeric:.6g}, error {self.absolute_error:.2g} "
            f"of {self.allowed:.2g} allowed."
        )


def check_gradients(
    component: Any,
    inputs: Any,
    *,
    tolerance: float = 1e-3,
    max_entries: int = 64,
    training: bool = False,
    seed: int = 0,
) -> GradientCheck:
    """Compares the gradient of a layer or loss with central differences.

    For a layer, this is the gradient of `sum(r * output)`, with a random `r`,
    with respect to its inputs and trainable weights; for a loss, that of the
    same sum with respect to `y_pred`. Differences are taken with four step
    sizes and extrapolated. The distance of two extrapolations, and the bend of
    the function there, are allowed on top of the tolerance, so an entry at a
    kink, such as that of a ReLU at 0, does not fail the check.

    The component is not changed: no weight, no batch normalization statistic,
    no seed. But a layer that has no weights yet is built.

    Args:
        component: A `keras.Layer`, such as a model, or a `keras.losses.Loss`.
        inputs: Arguments of the layer; a tuple holds several. For a loss,
            `(y_true, y_pred)`. Only floating-point inputs are varied.
        tolerance: Allowed error, as a share of the largest gradient of the
            same tensor. About 1e-5 is the smallest that float32 can resolve.
        max_entries: Maximum number of entries to compare in each tensor, chosen
            at random.
        training: Whether the layer is called in training mode.
        seed: Seed of the random choices.

    Returns:
        A `GradientCheck`, true if all gradients agree. `print` it to see the
        worst entry.

    Raises:
        TypeError: If `component` is neither a layer nor a loss.
        ValueError: If there is nothing to differentiate with respect to.

    Example:
        ```pycon
        >>> import keras, numpy as np
        >>> layer = keras.layers.Dense(2, activation="tanh")
        >>> check_gradients(layer, np.ones((3, 4), "float32")).ok
        True

        ```
    """
    owner = "check_gradients"
    tolerance = checked_number(owner, "tolerance", tolerance, above=0)
    max_entries = checked_int(owner, "max_entries", max_entries, low=1)
    training = checked_bool(owner, "training", training)
    seed = checked_seed(owner, seed)
    if isinstance(component, keras.losses.Loss):
        function, names, tensors = _of_loss(component, inputs)
    elif isinstance(component, keras.Layer):
        function, names, tensors = _of_layer(component, inputs, training)
    else:
        raise TypeError(
            "`check_gradients` needs a `keras.Layer` or a "
            "`keras.losses.Loss`. Received: component="
            f"{component!r} of type {type(component).__name__}."
            f"{hint_for_wrapper(component)}"
        )
    if not any(math.prod(tensor.shape) for tensor in tensors):
        raise ValueError(
            "`check_gradients` needs a floating-point input or trainable "
            "weight with at least one entry. Received: shapes "
            f"{[tuple(tensor.shape) for tensor in tensors]} of {component!r}."
        )

    def repeatable(tensors: list[Tensor]) -> list[Tensor]:
        with _backend.fixed_randomness(seed):
            return function(tensors)

    def kept() -> contextlib.AbstractContextManager[None]:
        return (
            contextlib.nullcontext()
            if isinstance(component, keras.losses.Loss)
            else _backend.kept_state(component)
        )

    random = np.random.default_rng(seed)
    with kept():
        outputs = repeatable(tensors)
    projections = [random.normal(size=tuple(x.shape)) for x in outputs]
    with kept():
        gradients = _autodiff(repeatable, tensors, projections)
    compiled = _backend.compiled(repeatable)

    def fast(tensors: list[Tensor]) -> list[Tensor]:
        with kept():
            return compiled(tensors)

    checks = []
    for position, name in enumerate(names):
        entries = _chosen(random, tensors[position].shape, max_entries)
        slopes = [
            _difference(fast, tensors, projections, position, index)
            for index in entries
        ]
        checks += _compared(
            name, entries, gradients[position], slopes, tolerance
        )
    worst = max(
        checks,
        key=lambda check: (
            float("inf")
            if np.isnan(check.absolute_error)
            else check.absolute_error / check.allowed
        ),
    )
    return dataclasses.replace(worst, entries=len(checks))


Function = Callable[[list[Tensor]], list[Tensor]]


def _of_loss(
    loss: Any, inputs: Any
) -> tuple[Function, list[str], list[Tensor]]:
    if not isinstance(inputs, tuple | list) or len(inputs) != 2:
        raise ValueError(
            "`inputs` of `check_gradients` must be `(y_true, y_pred)` for a "
            f"loss. Received: inputs of type {type(inputs).__name__}."
        )
    y_true, y_pred = inputs
    flat = [
        ops.convert_to_tensor(x, loss.dtype) for x in keras.tree.flatten(y_pred)
    ]

    def function(tensors: list[Tensor]) -> list[Tensor]:
        return [loss(y_true, keras.tree.pack_sequence_as(y_pred, tensors))]

    return function, _numbered("y_pred", len(flat)), flat


def _of_layer(
    layer: Any, inputs: Any, training: bool
) -> tuple[Function, list[str], list[Tensor]]:
    arguments = inputs if isinstance(inputs, tuple) else (inputs,)
    flat = keras.tree.flatten(
        dense_inputs("check_gradients", "inputs", arguments)
    )
    dtype = layer.compute_dtype
    flat = [ops.cast(x, dtype) if _is_float(x) else x for x in flat]
    if not layer.built:
        with _backend.kept_state(layer):
            layer(*keras.tree.pack_sequence_as(arguments, flat))
    accepted = inspect.signature(layer.call).parameters
    options = {"training": training} if "training" in accepted else {}
    varied = [i for i, x in enumerate(flat) if _is_float(x)]
    weights = layer.trainable_variables
    fixed = [v.value for v in layer.non_trainable_variables]

    def function(tensors: list[Tensor]) -> list[Tensor]:
        full = list(flat)
        for order, position in enumerate(varied):
            full[position] = tensors[order]
        outputs, _ = layer.stateless_call(
            tensors[len(varied) :],
            fixed,
            *keras.tree.pack_sequence_as(arguments, full),
            **options,
        )
        return [x for x in keras.tree.flatten(outputs) if _is_float(x)]

    every_name = _numbered("inputs", len(flat))
    owners = owner_names(layer)
    names = [every_name[i] for i in varied] + [owners.of(v) for v in weights]
    tensors = [flat[i] for i in varied] + [v.value for v in weights]
    return function, names, tensors


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}[{i}]" for i in range(count)]


def _is_float(x: Tensor) -> bool:
    return keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(x.dtype)
    )


def _autodiff(
    function: Function, tensors: list[Tensor], projections: list[np.ndarray]
) -> list[np.ndarray]:
    def projected(tensors: list[Tensor]) -> Tensor:
        return sum(
            ops.sum(output * ops.convert_to_tensor(projection, output.dtype))
            for output, projection in zip(
                function(tensors), projections, strict=True
            )
        )

    _, gradients = _backend.value_and_grad(projected, tensors)
    return [ops.convert_to_numpy(gradient) for gradient in gradients]


def _chosen(
    random: np.random.Generator, shape: Any, max_entries: int
) -> list[tuple[int, ...]]:
    size = int(np.prod(shape))
    positions = np.arange(size)
    if size > max_entries:
        positions = np.sort(random.choice(size, max_entries, replace=False))
    return [
        tuple(int(axis) for axis in np.unravel_index(position, shape))
        for position in positions
    ]


def _difference(
    function: Function,
    tensors: list[Tensor],
    projections: list[np.ndarray],
    position: int,
    index: tuple[int, ...],
) -> tuple[float, float]:
    """The slope along one entry, and its uncertainty.

    `(f(x+h) - f(x-h)) / 2h` has an error of `h²`, a quarter of that with half
    the step, so `(4 D(h/2) - D(h)) / 3` has an error of `h⁴`. The one-sided
    slopes differ by `h f''`, which halves with the step, but not at a kink.
    """
    point = ops.convert_to_numpy(tensors[position])

    def at(step: float) -> tuple[list[np.ndarray], float]:
        moved = point.copy()
        moved[index] += step
        shifted = list(tensors)
        shifted[position] = ops.convert_to_tensor(moved, point.dtype)
        outputs = [
            ops.convert_to_numpy(x).astype("float64") for x in function(shifted)
        ]
        return outputs, float(moved[index]) - float(point[index])

    def slope(a: Any, b: Any) -> float:
        # Outputs first: those that do not depend on the entry cancel exactly.
        rise = sum(
            np.sum(projection * (y - x))
            for projection, x, y in zip(projections, a[0], b[0], strict=True)
        )
        return float(rise) / (b[1] - a[1])

    middle = at(0.0)
    largest = 2 * np.finfo(point.dtype).eps ** 0.2
    central, bend = [], []
    for step in largest / 2.0 ** np.arange(4):
        below, above = at(-step), at(step)
        central.append(slope(below, above))
        bend.append(slope(middle, above) - slope(below, middle))
    slopes = (4 * np.array(central[1:]) - np.array(central[:-1])) / 3
    kinks = np.abs(2 * np.array(bend[1:]) - np.array(bend[:-1]))
    doubts = np.abs(np.diff(slopes)) + kinks[:-1] + kinks[1:]
    best = int(np.argmin(doubts))
    return float(slopes[best + 1]), float(doubts[best])


def _compared(
    name: str,
    entries: list[tuple[int, ...]],
    gradient: np.ndarray,
    slopes: list[tuple[float, float]],
    tolerance: float,
) -> list[GradientCheck]:
    autodiff = [float(gradient[index]) for index in entries]
    numeric = [slope for slope, _ in slopes]
    largest = float(np.nanmax(np.abs([autodiff, numeric]), initial=1e-30))
    return [
        GradientCheck(
            name=name,
            index=index,
            autodiff=mine,
            numeric=theirs,
            absolute_error=abs(mine - theirs),
            relative_error=abs(mine - theirs) / largest,
            allowed=tolerance * largest + doubt,
            entries=len(entries),
        )
        for index, mine, (theirs, doubt) in zip(
            entries, autodiff, slopes, strict=True
        )
    ]
