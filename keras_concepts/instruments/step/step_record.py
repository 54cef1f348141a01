"""What one training step did, as copies that are safe to measure."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor

_LARGEST = 3.4e38  # of float32


@dataclasses.dataclass
class Update:
    """What optimizers did to variables. Lists run parallel to `variables`.

    Attributes:
        variables: Keras variables.
        gradients: As passed to the optimizer: before clipping, still multiplied
            by the scale; `None` where the loss does not depend on the variable
            or its gradient was not seen.
        before: Values of the variables at which the gradients were taken.
        after: Values once the optimizer was done.
        scales: Loss scale to divide each gradient by, tensors or numbers.
        rates: Learning rate of each variable's update.
        applied: 1 if this really updated the weights, 0 if it only accumulated
            gradients or was skipped by loss scaling.
        optimizers: The optimizer of each variable, or `None`.
        versions: Versions of the gradients as passed to the optimizer; see
            `_backend.version`.
    """

    variables: list[Any] = dataclasses.field(default_factory=list)
    gradients: list[Any] = dataclasses.field(default_factory=list)
    before: list[Tensor] = dataclasses.field(default_factory=list)
    after: list[Tensor] = dataclasses.field(default_factory=list)
    scales: list[Any] = dataclasses.field(default_factory=list)
    rates: list[Any] = dataclasses.field(default_factory=list)
    applied: Any = 0
    optimizers: list[Any] = dataclasses.field(default_factory=list)
    versions: list[int] = dataclasses.field(default_factory=list)

    def drop_overwritten(self) -> None:
        """Leaves out gradients that were modified since (on PyTorch)."""
        for i, version in enumerate(self.versions):
            gradient = self.gradients[i]
            if gradient is not None and _backend.version(gradient) != version:
                self.gradients[i] = None

    @classmethod
    def joined(cls, updates: Sequence["Update"]) -> "Update":
        """Several updates of one step as one.

        For a variable that was updated more than once, the last gradient
        counts, and the total change.
        """
        if not updates:
            return cls()
        if len(updates) == 1:
            return updates[0]
        first = {
            id(variable): before
            for update in reversed(updates)
            for variable, before in zip(
                update.variables, update.before, strict=True
            )
        }
        last = {
            id(variable): (update, i)
            for update in updates
            for i, variable in enumerate(update.variables)
        }
        rows = list(last.values())
        return cls(
            variables=[update.variables[i] for update, i in rows],
            gradients=[update.gradients[i] for update, i in rows],
            before=[first[id(update.variables[i])] for update, i in rows],
            after=[update.after[i] for update, i in rows],
            scales=[update.scales[i] for update, i in rows],
            rates=[update.rates[i] for update, i in rows],
            applied=_largest([update.applied for update in updates]),
            optimizers=[update.optimizers[i] for update, i in rows],
        )


@dataclasses.dataclass
class Isolated:
    """Float32 copies of the parts of an update, in its order.

    Computations on them cannot change how the training step is compiled.

    Attributes:
        gradients: Gradients; those of embeddings with duplicate rows summed,
            unless the variable has a regularizer. `None` where there is none.
        before: See `Update`.
        after: See `Update`.
        loss: Loss of the batch, or `None`.
    """

    gradients: list[Tensor | None]
    before: list[Tensor]
    after: list[Tensor]
    loss: Tensor | None

    @classmethod
    def of(cls, update: Update, loss: Tensor | None) -> "Isolated":
        """Copies the tensors of an update and a loss."""
        gradients = [
            None
            if _is_value(gradient, variable)
            else _dense(gradient, variable)
            for gradient, variable in zip(
                update.gradients, update.variables, strict=True
            )
        ]
        present = [gradient for gradient in gradients if gradient is not None]
        losses = [] if loss is None else [ops.stop_gradient(loss)]
        tensors = iter(
            _backend.isolate([*present, *update.before, *update.after, *losses])
        )
        return cls(
            [None if g is None else _float32(next(tensors)) for g in gradients],
            [_float32(next(tensors)) for _ in update.before],
            [_float32(next(tensors)) for _ in update.after],
            _float32(next(tensors)) if losses else None,
        )


def _dense(gradient: Any, variable: Any) -> Tensor:
    if variable.regularizer is None:
        return _backend.dense_rows(gradient)
    return _backend.dense(gradient, variable.shape)


@dataclasses.dataclass
class StepRecord:
    """What one training step did.

    The fields of the model and its batch are known before the step, the others
    once it is over.

    Attributes:
        updates: The effect of each use of an optimizer, in order. Empty if none
            was used.
        loss: The batch's loss, or `None` if no metric received it.
        batch_size: Number of samples that `loss` is the mean of, a tensor or a
            number.
        model: The model that `fit` trains; `None` in a custom training loop.
        loss_tracker: Metric that receives the loss, or `None`.
        batch: The batch of the step.
        untrained: Pairs of the variables that are not trained and their values
            before the step, or `None` if the variables still hold them at the
            start of the step.
        copies_gradients: Whether to copy gradients when they are passed to an
            optimizer, since a later backward pass of the step may overwrite
            them.
        trace: The trace that the step runs in; see `_backend.current_trace`.
        has_hidden_updates: Whether an optimizer was used in another trace
            (`tf.cond`, the model's own compiled function), which no tensor may
            leave.
        has_hidden_values: Whether other values were captured there.
    """

    updates: list[Update] = dataclasses.field(default_factory=list)
    loss: Any = None
    batch_size: Any = float("nan")
    model: Any = None
    loss_tracker: Any = None
    batch: Any = None
    untrained: list[tuple[Any, Tensor]] | None = None
    copies_gradients: bool = False
    trace: Any = dataclasses.field(default_factory=_backend.current_trace)
    has_hidden_updates: bool = False
    has_hidden_values: bool = False

    @functools.cached_property
    def update(self) -> Update:
        """All updates of the step as one, known once it is over."""
        return Update.joined(self.updates)

    @functools.cached_property
    def isolated(self) -> "Isolated":
        """Copies of the tensors, known once the step is over."""
        return Isolated.of(self.update, self.loss)

    def forget(self) -> None:
        """Prepares for the next update of a custom training loop."""
        self.updates.clear()
        for name in ("update", "isolated"):
            _ = vars(self).pop(name, None)

    @property
    def in_its_trace(self) -> bool:
        """Whether tensors created here may be used after the step."""
        return _backend.current_trace() is self.trace

    def drop_hidden(self, values: dict[Any, Any]) -> None:
        """Deletes values from another trace, which they must not leave."""
        for key, value in list(values.items()):
            leaves = keras.tree.flatten(value)
            if not all(_backend.is_in_trace(x, self.trace) for x in leaves):
                self.has_hidden_values = True
                del values[key]


def in_float32(values: Sequence[Any]) -> Tensor:
    """Numbers and scalar tensors as one tensor, of shape `()` if all are one.

    Args:
        values: At least one; the same object counts only once.
    """
    if all(value is values[0] for value in values):
        return _float32(values[0])
    return ops.stack([_float32(value) for value in values])


def _largest(values: Sequence[Any]) -> Tensor:
    return ops.max(ops.stack([_float32(value) for value in values]))


def _is_value(gradient: Any, variable: Any) -> bool:
    """Whether there is no gradient, or it is the next value (float8 scales)."""
    return gradient is None or getattr(
        variable, "overwrite_with_gradient", False
    )


def _float32(x: Any) -> Tensor:
    dtype = keras.backend.standardize_dtype(getattr(x, "dtype", "float32"))
    if dtype == "float64":  # finite values must stay finite
        x = ops.where(ops.isinf(x), x, ops.clip(x, -_LARGEST, _LARGEST))
    return ops.cast(x, "float32")
