"""Optimizers, and what an update does."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from keras.src.backend.common import global_state

from keras_concepts._shadow import shadow_in_thread
from keras_concepts._types import Tensor


def running_optimizer() -> Any | None:
    """The optimizer whose `apply` is running here, if any."""
    # Keras passes only the variable to a constraint. But while `apply` runs,
    # the optimizer is the caller on top of the stack of name scopes, which is
    # separate for each thread.
    scopes = global_state.get_global_attribute("name_scope_stack")
    caller = scopes[-1].caller if scopes else None
    return caller if isinstance(caller, keras.optimizers.Optimizer) else None


def strategy_of_optimizer(optimizer: Any) -> Any:
    """The `tf.distribute` strategy that it was created under; on TensorFlow."""
    return optimizer._distribution_strategy


def learning_rate_of_update(optimizer: Any) -> Tensor:
    """The learning rate of the update that `apply` has just made.

    0 if it only accumulated gradients.
    """
    rate = ops.convert_to_tensor(optimizer.learning_rate)
    steps = optimizer.gradient_accumulation_steps
    if not steps:
        return rate
    # `iterations` counts updates, `_iterations` the calls of `apply`.
    updates = ops.equal((optimizer._iterations + 1) % steps, 0)
    return ops.where(updates, rate, ops.zeros_like(rate))


def calls_of_optimizer(optimizer: Any) -> Any | None:
    """The variable that counts the calls of `apply`; `None` if none does.

    Also those that only accumulate gradients, but not those that a
    `LossScaleOptimizer` skips.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    # One that someone else wrote may skip calls without counting them.
    applies = {type(optimizer).apply, type(inner).apply}
    if all(each.__module__.startswith("keras.") for each in applies):
        return inner._iterations
    return None


def optimizers_of(model: Any) -> list[Any]:
    """The optimizer of the model, and others that it or a layer in it keeps.

    They may be attributes, or in lists, tuples and dicts that are.
    """
    kept = [model.optimizer]
    for layer in model._flatten_layers():
        for value in vars(layer).values():
            kept += _leaves(value)
    kind = keras.optimizers.Optimizer
    return list({id(o): o for o in kept if isinstance(o, kind)}.values())


def _leaves(value: Any, depth: int = 4) -> list[Any]:
    """The items of a container and of those in it; else the value itself."""
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list | tuple) or not depth:
        return [value]
    return [leaf for each in value for leaf in _leaves(each, depth - 1)]


def optimizer_variables(model: Any) -> list[Any]:
    """All variables of the optimizers of a model."""
    return [v for each in optimizers_of(model) for v in each.variables]


def optimized_variables(optimizer: Any) -> list[Any]:
    """The variables that an optimizer was built for, in its order."""
    return list(optimizer._trainable_variables)


def weight_decay(optimizer: Any, variable: Any) -> float:
    """What an update subtracts, as a share of `learning_rate * variable`."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    share = optimizer.weight_decay
    # Muon leaves some variables to the Adam inside it, which in older versions
    # of Keras has no weight decay.
    muon = isinstance(optimizer, keras.optimizers.Muon)
    if muon and optimizer._should_use_adamw(variable):
        share = getattr(optimizer, "adam_weight_decay", share)
    return share if share and optimizer._use_weight_decay(variable) else 0.0


def capture_reduced_gradients(
    optimizer: Any, record: Callable[[list[Any]], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(gradients)` where `apply` has summed them over replicas.

    On TensorFlow only, after clipping.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    original = inner._all_reduce_sum_gradients

    def all_reduce_sum_gradients(grads_and_vars: Any) -> Any:
        result = original(grads_and_vars)
        record([gradient for gradient, _ in result])
        return result

    return shadow_in_thread(
        inner, "_all_reduce_sum_gradients", all_reduce_sum_gradients
    )
