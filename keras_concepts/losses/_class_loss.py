"""What the losses of class labels share: labels, masks, weights, config."""

import abc
import warnings
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.ignored import checked_ignored
from keras_concepts._labels.ranges import not_probabilities
from keras_concepts._labels.targets import (
    Targets,
    binary_targets,
    categorical_targets,
)
from keras_concepts._labels.tensors import PREDICTIONS, WEIGHTS, as_tensor
from keras_concepts._labels.weights import aligned
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    check_choice,
    check_name,
    checked_bool,
    checked_int,
    checked_number,
)
from keras_concepts.losses._log_probabilities import logits_of

# What labels hold: class numbers, a label for each class, or whatever their
# shape implies.
Form: TypeAlias = Literal["auto", "sparse", "dense"]


class _Reduced(keras.losses.Loss):
    """Reduces what it is given, the way Keras does, replicas included."""

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        return y_pred


class Losses(NamedTuple):
    """What remains to be reduced.

    Attributes:
        losses: Of any shape.
        counted: How much each counts, from 0 to 1, or `None` if all count
            fully.
        weights: Their weights, or `None` for 1.
    """

    losses: Tensor
    counted: Tensor | None
    weights: Tensor | None


class ClassLoss(keras.losses.Loss, abc.ABC):
    """Base of the losses whose labels are classes.

    Labels are not cast to its dtype, so class numbers stay exact. Half
    precision is computed in float32 and rounded once, at the end.
    """

    def __init__(
        self,
        *,
        from_logits: bool,
        axis: int,
        binary: bool,
        ignore_class: float | None,
        labels: Form,
        reduction: str | None,
        name: str,
        dtype: Any,
    ) -> None:
        owner = type(self).__name__
        check_name(owner, name)
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        check_choice(owner, "labels", labels, ("auto", "sparse", "dense"))
        binary = checked_bool(owner, "binary", binary)
        if binary and labels == "sparse":
            raise ValueError(
                f'`labels` of `{owner}` cannot be "sparse" with '
                "`binary=True`: each class has its own label. Received: "
                f"labels={labels!r} and binary={binary!r}."
            )
        self.from_logits = checked_bool(owner, "from_logits", from_logits)
        self.axis = checked_int(owner, "axis", axis)
        self.binary = binary
        self.ignore_class = checked_ignored(owner, ignore_class)
        self.labels: Form = labels
        self._warned = False
        self._given_dtype = getattr(dtype, "name", dtype)
        half = self.dtype in ("float16", "bfloat16")
        self._computed_in = "float32" if half else self.dtype

    @abc.abstractmethod
    def _losses(self, batch: Targets, weights: Tensor | None) -> Losses:
        """What remains to be reduced.

        Args:
            batch: Labels and predictions.
            weights: Broadcastable to `(...)`, or `None` for 1.
        """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The losses before weights and reduction."""
        owner = type(self).__name__
        y_pred = as_tensor(owner, PREDICTIONS, y_pred)
        y_pred = ops.cast(y_pred, self._computed_in)
        batch = self._read(y_true, y_pred)
        batch = self._checked(batch, batch.counted)
        return self._losses(batch, None).losses

    def __call__(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Tensor:
        mask = _backend.keras_mask(y_pred)
        dtype, owner = self._computed_in, type(self).__name__
        y_pred = ops.cast(as_tensor(owner, PREDICTIONS, y_pred), dtype)
        batch = self._read(y_true, y_pred)
        counted = batch.counted
        entries = batch.y_pred.shape[:-1]
        if mask is not None:
            mask = aligned(owner, "mask", mask, entries)
            mask = ops.expand_dims(ops.cast(mask, dtype), -1)
            counted = mask if counted is None else counted * mask
        batch = batch._replace(counted=counted)
        if sample_weight is not None:
            sample_weight = as_tensor(owner, WEIGHTS, sample_weight)
            sample_weight = ops.cast(sample_weight, dtype)
            sample_weight = aligned(
                owner, "sample_weight", sample_weight, entries
            )
            weighed = ops.cast(ops.expand_dims(sample_weight, -1) != 0, dtype)
            counted = weighed if counted is None else counted * weighed
        batch = self._checked(batch, counted)
        losses = self._losses(batch, sample_weight)
        return ops.cast(self._reduced(*losses), self.dtype)

    def _read(self, y_true: Any, y_pred: Tensor) -> Targets:
        owner = type(self).__name__
        given = (owner, y_true, y_pred, self.axis, self.ignore_class)
        if self.binary:
            return binary_targets(*given)
        return categorical_targets(*given, self.labels)

    def _checked(self, batch: Targets, counted: Tensor | None) -> Targets:
        """The batch, NaN where labels or predictions are impossible.

        Predictions that do not count are zeros: they may hold anything, and NaN
        times 0 is NaN.

        Args:
            batch: Labels and predictions.
            counted: Which of them count, masks and weights included.
        """
        owner = type(self).__name__
        batch = batch.checked(owner, counted)
        if counted is not None:
            y_pred = ops.where(counted != 0, batch.y_pred, 0)
            batch = batch._replace(y_pred=y_pred)
        if self.from_logits:
            return batch
        bad = not_probabilities(batch.y_pred, counted, self._highest())
        if bad is None:
            return batch
        if isinstance(bad, np.ndarray) and not self._warned:
            self._warned = True
            warnings.warn(
                f"`{owner}` is NaN: it was given predictions below 0 or above "
                "1. If they are logits, pass `from_logits=True`.",
                stacklevel=3,
            )
        nan = ops.full_like(batch.y_pred, float("nan"))
        return batch._replace(y_pred=ops.where(bad, nan, batch.y_pred))

    def _highest(self) -> float:
        """The largest prediction that can still be a probability."""
        return 1.0

    def _reduced(
        self, losses: Tensor, counted: Tensor | None, weights: Tensor | None
    ) -> Tensor:
        if weights is not None:
            weights = weights * ops.ones_like(losses)
        if counted is not None:
            weights = counted if weights is None else weights * counted
            if self.reduction in ("sum_over_batch_size", "mean"):
                # Keras divides by the number of losses: undo that, and divide
                # by how many of them count.
                share = ops.mean(counted)
                weights = ops.divide_no_nan(weights, share)
        reduced = _Reduced(self.name, self.reduction, self._computed_in)
        return reduced(losses, losses, weights)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, `dtype` among them."""
        return {
            **super().get_config(),
            "dtype": self._given_dtype,
            "from_logits": self.from_logits,
            "axis": self.axis,
            "binary": self.binary,
            "ignore_class": self.ignore_class,
            "labels": self.labels,
        }


class EntryLoss(ClassLoss):
    """Base of the losses that are a sum or mean over single predictions."""

    def __init__(self, *, label_smoothing: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.label_smoothing = checked_number(
            owner, "label_smoothing", label_smoothing, low=0, high=1
        )

    def _highest(self) -> float:
        # Probabilities of a softmax are normalized, whatever their sum.
        return 1.0 if self.binary else float("inf")

    @abc.abstractmethod
    def _terms(self, targets: Tensor, logits: Tensor) -> Tensor:
        """The loss of each prediction, `(..., C)`."""

    def _losses(self, batch: Targets, weights: Tensor | None) -> Losses:
        targets, y_pred, counted, _ = batch
        if self.label_smoothing:
            choices = 2 if self.binary else y_pred.shape[-1]
            targets = targets + self.label_smoothing * (1 / choices - targets)
        if not self.from_logits:
            y_pred = logits_of(y_pred, self.binary)
        terms = self._terms(targets, y_pred)
        if counted is None:
            reduce = ops.mean if self.binary else ops.sum
            return Losses(reduce(terms, axis=-1), None, weights)
        each = counted * ops.ones_like(terms)
        terms = ops.where(ops.equal(each, 0), 0 * each, terms)
        losses = ops.sum(terms, axis=-1)
        if self.binary:
            losses = ops.divide_no_nan(losses, ops.sum(each, axis=-1))
        return Losses(losses, ops.mean(each, axis=-1), weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "label_smoothing": self.label_smoothing}
