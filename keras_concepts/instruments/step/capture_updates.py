"""Hearing what a training step hands to its optimizer."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


@dataclasses.dataclass
class Heard:
    """What one training step did. Lists run parallel to `variables`.

    Attributes:
        variables: The trainable Keras variables.
        gradients: As given to the optimizer: before clipping, still multiplied
            by `scale`; `None` where the loss does not depend on the variable.
        before: Values of the variables at which the gradients were taken.
        after: Values once the optimizer was done.
        scale: Loss scale to divide the gradients by, a tensor or a number.
        applied: 1 if this step really updated the weights, 0 if it only
            accumulated gradients or was skipped by loss scaling.
        rate: Learning rate of the update.
        loss: The batch's loss, or `None` if nobody told.
        batch_size: Samples that `loss` is the mean of, a tensor or a number.
        batch: What the step was given.
        others: Pairs of the variables that are not trained and their values
            before the step, if somebody asked.
        parts: What the loss is the sum of, see `hear_loss_parts`.
        batch_norms: Batch against moving statistics, see `hear_batch_norms`.
    """

    variables: list[Any] = dataclasses.field(default_factory=list)
    gradients: list[Any] = dataclasses.field(default_factory=list)
    before: list[Tensor] = dataclasses.field(default_factory=list)
    after: list[Tensor] = dataclasses.field(default_factory=list)
    scale: Any = 1.0
    applied: Any = 0
    rate: Any = float("nan")
    loss: Any = None
    batch_size: Any = float("nan")
    batch: Any = None
    others: list[tuple[Any, Any]] | None = None
    parts: dict[tuple[str, Any], Any] = dataclasses.field(default_factory=dict)
    batch_norms: dict[tuple[int, int], Any] = dataclasses.field(
        default_factory=dict
    )


@contextlib.contextmanager
def listen(
    optimizer: Any,
    variables: Sequence[Any] | None = None,
    loss_tracker: Any = None,
    then: Callable[[Heard], None] | None = None,
) -> Iterator[Heard]:
    """Shadows `optimizer.apply` and `stateless_apply` inside the with-block.

    Args:
        optimizer: A Keras optimizer.
        variables: What the gradients belong to when the caller of the
            optimizer does not say.
        loss_tracker: Metric whose `update_state` receives the batch's loss, as
            the one named `"loss"` does in `fit`.
        then: Called after each use of the optimizer.

    Yields:
        `Heard`, filled in by the step that runs inside the with-block.
    """
    heard = Heard()
    original_apply = optimizer.apply
    original_stateless_apply = optimizer.stateless_apply
    stateless = False

    def apply(gradients: Any, trainable_variables: Any = None) -> Any:
        if stateless:
            return original_apply(gradients, trainable_variables)
        gradients = list(gradients)
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
        heard.variables = trainable_variables or list(variables or [])
        heard.before = [_backend.snapshot(v) for v in heard.variables]
        heard.scale = loss_scale(optimizer)
        heard.rate = _learning_rate(optimizer)
        updates = _backend.snapshot(optimizer.iterations)
        with _backend.reduced_gradients(optimizer) as reduced:
            result = original_apply(gradients, trainable_variables)
        heard.gradients = _reduced_in_place_of(gradients, reduced)
        if reduced:
            heard.scale = 1.0
        heard.after = [
            ops.stop_gradient(ops.convert_to_tensor(v)) for v in heard.variables
        ]
        heard.applied = optimizer.iterations - updates
        if then is not None and heard.variables:
            then(heard)
        return result

    def stateless_apply(
        optimizer_variables: Any, gradients: Any, trainable_variables: Any
    ) -> Any:
        nonlocal stateless
        mapping = list(
            zip(optimizer.variables, optimizer_variables, strict=True)
        )
        with keras.StatelessScope(state_mapping=mapping):
            heard.scale = loss_scale(optimizer)
            heard.rate = _learning_rate(optimizer)
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
            heard.applied = optimizer.iterations - updates
        heard.variables = list(variables or [])
        heard.gradients = list(gradients)
        heard.before = list(trainable_variables)
        heard.after = list(trained)
        if then is not None:
            then(heard)
        return trained, state

    with contextlib.ExitStack() as stack:
        stack.enter_context(_backend.shadow_in_step(optimizer, "apply", apply))
        stack.enter_context(
            _backend.shadow_in_step(
                optimizer, "stateless_apply", stateless_apply
            )
        )
        if loss_tracker is not None:
            original_update = loss_tracker.update_state

            def update_state(values: Any, sample_weight: Any = None) -> Any:
                heard.loss = values
                heard.batch_size = 1 if sample_weight is None else sample_weight
                return original_update(values, sample_weight=sample_weight)

            stack.enter_context(
                _backend.shadow_in_step(
                    loss_tracker, "update_state", update_state
                )
            )
        yield heard


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
