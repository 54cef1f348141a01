"""Layers, their variables, and the masks that they leave on tensors."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras.src.backend.common import global_state, masking
from keras.src.backend.common.stateless_scope import (
    in_stateless_scope,
)

from keras_concepts._shadow import shadow, shadow_in_thread
from keras_concepts._types import Tensor


def keras_mask(tensor: Tensor) -> Tensor | None:
    """The mask that Keras' layers left on a tensor, or `None`."""
    # Not always an attribute: for tensors without attributes Keras has a table.
    return masking.get_keras_mask(tensor)


def set_keras_mask(tensor: Tensor, mask: Tensor) -> None:
    """Leaves a mask on a tensor, as Keras' layers do."""
    masking.set_keras_mask(tensor, mask)


def own_value(variable: Any) -> Tensor | None:
    """The tensor that a Keras variable holds, to be changed in place.

    `None` if another value replaces it.
    """
    return None if in_stateless_scope() else variable._value


def cell_of_bias() -> Any | None:
    """The recurrent cell for whose bias the calling initializer is used.

    `None` if it is not known. To be called directly in `__call__`.
    """
    # A layer whose `build` runs is on top of the stack of name scopes. But a
    # variable that is created in a trace gets its value later. Then the only
    # trace of the cell is the function that it wrapped around its initializer.
    scopes = global_state.get_global_attribute("name_scope_stack")
    caller = scopes[-1].caller if scopes else None
    wrapper = sys._getframe(2).f_locals.get("self")
    for owner in (caller, wrapper):
        gated = hasattr(owner, "unit_forget_bias") or hasattr(
            owner, "reset_after"
        )
        if gated or isinstance(owner, keras.layers.SimpleRNNCell):
            return owner
    return None


def capture_batch_moments(
    layer: Any, record: Callable[[Tensor, Tensor | None], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(inputs, mask)` where a layer computes a batch's statistics.

    The `training` argument of its `call` does not tell: a subclass may set its
    own, and an outer layer may pass none.
    """
    original = layer._moments

    def moments(inputs: Tensor, mask: Tensor | None = None) -> Any:
        record(inputs, mask)
        return original(inputs, mask)

    return shadow_in_thread(layer, "_moments", moments)


def flatten_layers(model: Any) -> list[Any]:
    """The model and all layers and cells in it, at any depth, each once.

    A model comes before its layers, and these in their order: Keras' own list
    reverses the layers of a model inside a model.
    """
    found: dict[int, Any] = {}
    ahead = [model]
    while ahead:
        layer = ahead.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            ahead += reversed(layer._layers)
    return [*found.values()]


@contextlib.contextmanager
def without_cudnn(model: Any) -> Iterator[None]:
    """Makes recurrent layers call what is inside them, as on a CPU."""
    with contextlib.ExitStack() as stack:
        for layer in flatten_layers(model):
            if getattr(layer, "use_cudnn", False):
                stack.enter_context(shadow(layer, "use_cudnn", False))
        yield


def own_variables(layer: Any) -> list[Any]:
    """Weights and random seeds of the layer itself, not of layers inside it."""
    return [
        *layer._trainable_variables,
        *layer._non_trainable_variables,
        *(generator.state for generator in layer._seed_generators),
    ]


def trained_variables(layer: Any) -> list[Any]:
    """Weights of the layer itself that were created as trainable.

    Includes those of a frozen layer, but not statistics and seeds.
    """
    return list(layer._trainable_variables)


def changing_variables(model: Any) -> list[Any]:
    """Untrained variables that a step may assign: statistics, seeds.

    The weights of frozen layers are not among them.
    """
    weights = {id(variable) for variable in model.weights}
    found = {id(v): v for v in model.variables if id(v) not in weights}
    for layer in model._flatten_layers():
        # Created as non-trainable by the layer, whether it is frozen or not.
        found |= {id(v): v for v in layer._non_trainable_variables}
    return list(found.values())


def has_seeds(layer: Any) -> bool:
    """Whether the layer or operation itself draws random numbers."""
    return bool(getattr(layer, "_seed_generators", ()))


def is_of_keras(layer: Any) -> bool:
    """Whether the class of the layer or operation is Keras' own."""
    return type(layer).__module__.split(".")[0] == "keras"
