"""What one training step did, and copies of it that are safe to measure."""

import dataclasses
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


@dataclasses.dataclass
class StepRecord:
    """What one training step did. Lists run parallel to `variables`.

    The fields of the model and its batch are known before the step, the others
    once the optimizer has been called.

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
        loss: The batch's loss, or `None` if no metric received it.
        batch_size: Samples that `loss` is the mean of, a tensor or a number.
        model: The model that `fit` trains; `None` in a loop of one's own.
        loss_tracker: Metric that receives the loss, or `None`.
        batch: What the step was given.
        untrained: Pairs of the variables that are not trained and their values
            before the step, or `None` if the variables still hold them when the
            step begins.
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
    model: Any = None
    loss_tracker: Any = None
    batch: Any = None
    untrained: list[tuple[Any, Tensor]] | None = None


def isolated_copies(
    step: StepRecord,
) -> tuple[list[Tensor | None], list[Tensor], list[Tensor], Tensor | None]:
    """Float32 copies of gradients, `before`, `after` and loss.

    What is computed from them cannot change how the training step is compiled.
    """
    gradients = [
        None if _is_value(gradient, variable) else _backend.dense_rows(gradient)
        for gradient, variable in zip(
            step.gradients, step.variables, strict=True
        )
    ]
    present = [gradient for gradient in gradients if gradient is not None]
    losses = [] if step.loss is None else [ops.stop_gradient(step.loss)]
    tensors = iter(
        _backend.isolate([*present, *step.before, *step.after, *losses])
    )
    return (
        [None if g is None else _float32(next(tensors)) for g in gradients],
        [_float32(next(tensors)) for _ in step.before],
        [_float32(next(tensors)) for _ in step.after],
        next(tensors) if losses else None,
    )


def _is_value(gradient: Any, variable: Any) -> bool:
    """No gradient, or one that is the variable's next value (float8 scales)."""
    return gradient is None or getattr(
        variable, "overwrite_with_gradient", False
    )


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")
