"""What a training step hands to its optimizer and its loss metric."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.step.step_record import StepRecord


@contextlib.contextmanager
def capture_updates(
    optimizer: Any,
    step: StepRecord,
    variables: Sequence[Any] | None = None,
    then: Callable[[StepRecord], None] | None = None,
) -> Iterator[None]:
    """Fills in `step` from the optimizer's work inside the with-block.

    `optimizer.apply` and `stateless_apply` are shadowed there, and so is
    `update_state` of `step.loss_tracker`.

    Args:
        optimizer: A Keras optimizer.
        step: The record to fill in.
        variables: What the gradients belong to when the caller of the
            optimizer does not say.
        then: Called with the record after each use of the optimizer.
    """
    original_apply = optimizer.apply
    original_stateless_apply = optimizer.stateless_apply
    stateless = False

    def apply(gradients: Any, trainable_variables: Any = None) -> Any:
        if stateless:
            return original_apply(gradients, trainable_variables)
        gradients = list(gradients)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        step.variables = trainable_variables or list(variables or [])
        step.before = [_backend.snapshot(v) for v in step.variables]
        step.scale = loss_scale(optimizer)
        step.rate = _learning_rate(optimizer)
        updates = _backend.snapshot(optimizer.iterations)
        with _backend.reduced_gradients(optimizer) as reduced:
            result = original_apply(gradients, trainable_variables)
        step.gradients = _reduced_in_place_of(gradients, reduced)
        if reduced:
            step.scale = 1.0
        step.after = [
            ops.stop_gradient(ops.convert_to_tensor(v)) for v in step.variables
        ]
        step.applied = optimizer.iterations - updates
        if then is not None and step.variables:
            then(step)
        return result

    def stateless_apply(
        optimizer_variables: Any, gradients: Any, trainable_variables: Any
    ) -> Any:
        nonlocal stateless
        mapping = list(
            zip(optimizer.variables, optimizer_variables, strict=True)
        )
        with keras.StatelessScope(state_mapping=mapping):
            step.scale = loss_scale(optimizer)
            step.rate = _learning_rate(optimizer)
            updates = ops.convert_to_tensor(optimizer.iterations)
        stateless = True
        try:
            trained, state = original_stateless_apply(
                optimizer_variables, gradients, trainable_variables
            )
        finally:
            stateless = False
        mapping = list(zip(optimizer.variables, state, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            step.applied = optimizer.iterations - updates
        step.variables = list(variables or [])
        step.gradients = list(gradients)
        step.before = list(trainable_variables)
        step.after = list(trained)
        if then is not None:
            then(step)
        return trained, state

    with contextlib.ExitStack() as stack:
        stack.enter_context(_backend.shadow_in_step(optimizer, "apply", apply))
        stack.enter_context(
            _backend.shadow_in_step(
                optimizer, "stateless_apply", stateless_apply
            )
        )
        if step.loss_tracker is not None:
            stack.enter_context(_capture_loss(step))
        yield


@contextlib.contextmanager
def _capture_loss(step: StepRecord) -> Iterator[None]:
    original = step.loss_tracker.update_state

    def update_state(values: Any, sample_weight: Any = None) -> Any:
        step.loss = values
        step.batch_size = 1 if sample_weight is None else sample_weight
        return original(values, sample_weight=sample_weight)

    with _backend.shadow_in_step(
        step.loss_tracker, "update_state", update_state
    ):
        yield


def loss_scale(optimizer: Any) -> Any:
    """What the optimizer multiplies the loss by: a tensor or a number."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        if optimizer.built:
            return _backend.snapshot(optimizer.dynamic_scale)
        return optimizer.initial_scale
    return optimizer.loss_scale_factor or 1.0


def _learning_rate(optimizer: Any) -> Tensor:
    # A MultiOptimizer has none: its optimizers have one each.
    rate = getattr(optimizer, "learning_rate", float("nan"))
    return _backend.snapshot(rate)


def _reduced_in_place_of(gradients: list[Any], reduced: list[Any]) -> list[Any]:
    """The replicas' sums, with `None` where the replica had no gradient."""
    if not reduced:
        return gradients
    sums = iter(reduced)
    return [None if gradient is None else next(sums) for gradient in gradients]
