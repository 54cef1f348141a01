"""What is private to Keras and the same on every backend."""

from typing import Any

import keras
from keras import ops
from keras.src.backend.common import global_state
from keras.src.backend.common.masking import get_keras_mask

from keras_concepts._types import Tensor


def keras_mask(tensor: Tensor) -> Tensor | None:
    """The mask that Keras' layers left on a tensor, or `None`."""
    # Not always an attribute: where tensors take none, Keras keeps a table.
    return get_keras_mask(tensor)


def running_optimizer() -> Any | None:
    """The optimizer whose `apply` is running here, if any."""
    # Keras hands a constraint the variable and nothing else. But while `apply`
    # runs, the optimizer is the caller on top of the stack of name scopes, of
    # which each thread has its own.
    scopes = global_state.get_global_attribute("name_scope_stack")
    caller = scopes[-1].caller if scopes else None
    return caller if isinstance(caller, keras.optimizers.Optimizer) else None


def learning_rate_of_update(optimizer: Any) -> Tensor:
    """The learning rate of the update that `apply` has just made.

    0 if it made none, but accumulated gradients.
    """
    rate = ops.convert_to_tensor(optimizer.learning_rate)
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return rate
    # `iterations` counts updates, `_iterations` the calls of `apply`.
    updates = ops.equal((optimizer._iterations + 1) % steps, 0)
    return ops.where(updates, rate, ops.zeros_like(rate))


def flatten_layers(model: Any) -> list[Any]:
    """The model and all layers and cells in it, at any depth, each once."""
    return model._flatten_layers()
