"""Layers, what they keep, and the masks that they leave on tensors."""

import contextlib
import sys
from collections.abc import Callable
from typing import Any

import keras
from keras.src.backend.common import global_state, masking
from keras.src.backend.common.stateless_scope import (
    in_stateless_scope,
)

from keras_concepts._shadow import shadow_in_thread
from keras_concepts._types import Tensor


def keras_mask(tensor: Tensor) -> Tensor | None:
    """The mask that Keras' layers left on a tensor, or `None`."""
    # Not always an attribute: where tensors take none, Keras keeps a table.
    return masking.get_keras_mask(tensor)


def set_keras_mask(tensor: Tensor, mask: Tensor) -> None:
    """Leaves a mask on a tensor, as Keras' layers do."""
    masking.set_keras_mask(tensor, mask)


def own_value(variable: Any) -> Tensor | None:
    """What a Keras variable holds itself, to be changed in place.

    `None` where another value stands in for it.
    """
    return None if in_stateless_scope() else variable._value


def cell_of_bias() -> Any | None:
    """Keras' recurrent cell whose bias is asked of the calling initializer.

    `None` if it is not known. To be called in `__call__` itself.
    """
    # A layer whose `build` runs is on top of the stack of name scopes. But a
    # variable that is made in a trace gets its value later. Then only the
    # function is left that an LSTM has wrapped around its initializer.
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
    """Calls `record(inputs, mask)` where a layer takes a batch's statistics.

    What the `training` of its `call` is does not say so: a subclass may set its
    own, and an outer layer may give none.
    """
    original = layer._moments

    def moments(inputs: Tensor, mask: Tensor | None = None) -> Any:
        record(inputs, mask)
        return original(inputs, mask)

    return shadow_in_thread(layer, "_moments", moments)


def flatten_layers(model: Any) -> list[Any]:
    """The model and all layers and cells in it, at any depth, each once.

    A model before its layers, these in their order: Keras' own list has those
    of a model in a model the other way round.
    """
    found: dict[int, Any] = {}
    ahead = [model]
    while ahead:
        layer = ahead.pop()
        if id(layer) not in found:
            found[id(layer)] = layer
            ahead += reversed(layer._layers)
    return [*found.values()]


def own_variables(layer: Any) -> list[Any]:
    """Weights and random seeds of the layer itself, not of layers in it."""
    return [
        *layer._trainable_variables,
        *layer._non_trainable_variables,
        *(generator.state for generator in layer._seed_generators),
    ]


def trained_variables(layer: Any) -> list[Any]:
    """Weights of the layer itself that were made to be trained.

    Also of a frozen layer. Not its statistics and seeds.
    """
    return list(layer._trainable_variables)


def changing_variables(model: Any) -> list[Any]:
    """Untrained variables that a step may assign: statistics, seeds.

    Not the weights of frozen layers.
    """
    weights = {id(variable) for variable in model.weights}
    found = {id(v): v for v in model.variables if id(v) not in weights}
    for layer in model._flatten_layers():
        # Those that the layer has made so, whether it is frozen or not.
        found |= {id(v): v for v in layer._non_trainable_variables}
    return list(found.values())


def has_seeds(layer: Any) -> bool:
    """Whether the layer or operation itself draws random numbers."""
    return bool(getattr(layer, "_seed_generators", ()))


def is_of_keras(layer: Any) -> bool:
    """Whether Keras itself has the class of the layer or operation."""
    return type(layer).__module__.split(".")[0] == "keras"
