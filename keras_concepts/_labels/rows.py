"""Batches as rows: labels, scores and weights of every entry."""

import functools
from typing import Any, Literal, NamedTuple

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels import ranges
from keras_concepts._labels.class_amounts import (
    NOWHERE,
    Classes,
    Columns,
    Indices,
)
from keras_concepts._labels.ignored import differs, has_other_class
from keras_concepts._labels.predictions import probabilities
from keras_concepts._labels.shapes import match, with_class_axis
from keras_concepts._labels.tensors import WEIGHTS, as_scores, as_tensor
from keras_concepts._labels.weights import aligned
from keras_concepts._numerics.dtypes import cast, dtype_of, multiply
from keras_concepts._types import Tensor


class Rows(NamedTuple):
    """A batch as rows.

    Attributes:
        labels: True classes.
        scores: `(rows, classes)`: the outputs of the model.
        weights: `(rows, 1)`, float32, or int32 zeros and ones, or `None`.
        answered: `(rows, classes)`, which classes have a label in a row, int32
            zeros and ones, or `None` if all have.
        impossible: Booleans of impossible labels, if these are only known when
            a compiled step runs; else `None`.
    """

    labels: Classes
    scores: Tensor
    weights: Tensor | None
    answered: Tensor | None = None
    impossible: Tensor | None = None

    def weighted(self, classes: Classes) -> Classes:
        """Amounts times the weights of their rows."""
        return classes if self.weights is None else classes.scaled(self.weights)

    def only_answered(self, predictions: Classes) -> Classes:
        """Predictions of the classes that have a label."""
        if self.answered is None:
            return predictions
        if isinstance(predictions, Columns):
            return predictions.scaled(self.answered)
        there = Columns(self.answered).at(predictions.numbers)
        known = predictions.numbers < predictions.num_classes
        return predictions.without(ops.logical_and(known, there == 0))

    def float_weights(self) -> Tensor:
        """The weight of each row, `(rows,)`, float32; 1 without weights."""
        if self.weights is None:
            return ops.ones_like(self.scores[:, 0], "float32")
        return ops.cast(self.weights[:, 0], "float32")

    def weights_of(self, column: int) -> Tensor:
        """The same, and 0 where one class has no label."""
        weights = self.float_weights()
        if self.answered is None:
            return weights
        return weights * ops.cast(self.answered[:, column], "float32")

    def probabilities(self, *, from_logits: bool) -> Tensor:
        """The scores as float32 probabilities."""
        scores = ops.cast(self.scores, "float32")
        if not from_logits:
            return scores
        shares = probabilities(scores, binary=scores.shape[1] == 1)
        # Not every softmax propagates a NaN to the whole row.
        return _backend.fill(shares, _backend.has_nan(scores), float("nan"))


def read_rows(
    owner: str,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    mask: Tensor | None,
    *,
    labels: Literal["auto", "sparse", "dense"],
    axis: int,
    ignore_class: float | None,
    one_class: bool,
) -> Rows:
    """Makes rows of a batch.

    Args:
        owner: Name of the metric, for error messages.
        y_true: Labels.
        y_pred: Predictions.
        sample_weight: Weights, or `None`.
        mask: Whether each row counts, or `None`.
        labels: `"sparse"`, `"dense"` or `"auto"`.
        axis: Axis of the classes in `y_pred`, and in dense labels.
        ignore_class: Rows with this label have weight 0. If it is not a class
            and each class has its own label, only the labels equal to it are
            left out.
        one_class: Whether each row must be of one class. If so, dense labels
            sum to 1 and cannot be left out one by one.

    Raises:
        TypeError: If labels are not numbers.
        ValueError: If shapes do not fit each other; if a label is impossible,
            where labels can be read.
    """
    y_pred = with_class_axis(owner, as_scores(owner, y_pred))
    y_true, scores, form = match(
        owner,
        ranges.as_labels(owner, y_true),
        y_pred,
        axis,
        wanted=labels,
        options=f" and labels={labels!r}",
    )
    num_classes = scores.shape[-1]
    y_true = _flat(y_true)
    single = form == "sparse" or num_classes == 1

    factors = []
    answered = vanishing = None
    if mask is not None:
        mask = _row_factors(owner, "mask", mask, scores)
        factors.append(ops.cast(mask, "int32"))
    if ignore_class is None:
        pass
    elif single or 0 <= ignore_class < num_classes:
        counted = (
            differs(y_true, ignore_class)
            if single
            else has_other_class(y_true, int(ignore_class))
        )
        factors.append(ops.cast(counted, "int32"))
    elif one_class:
        raise ValueError(
            f"`ignore_class` of `{owner}` must be one of the {num_classes} "
            "classes if labels are one-hot or soft. To leave out rows, pass "
            f"sample weights of 0. Received: ignore_class={ignore_class!r}."
        )
    else:
        answered = ops.cast(differs(y_true, ignore_class), "int32")
    if sample_weight is not None:
        sample_weight = as_tensor(owner, WEIGHTS, sample_weight)
        sample_weight = _row_factors(
            owner, "sample_weight", sample_weight, scores
        )
        vanishing = ranges.vanishing(owner, sample_weight)
        factors.append(ops.cast(sample_weight, "float32"))
    weights = functools.reduce(multiply, factors) if factors else None

    true: Classes
    if form == "sparse":
        impossible = ranges.misnumbered(owner, y_true, num_classes, weights)
        numbers = cast(y_true, _backend.CLASS_NUMBERS)
        numbers = _backend.fill(numbers, numbers < 0, NOWHERE)
        numbers = _backend.fill(numbers, numbers >= num_classes, NOWHERE)
        true = Indices(numbers, num_classes)
    else:
        counted = weights if answered is None else answered
        if weights is not None and answered is not None:
            counted = answered * ops.cast(weights != 0, "int32")
        impossible = ranges.not_shares(owner, y_true, counted)
        if one_class and num_classes > 1:
            impossible = ranges.both(
                impossible, ranges.not_one_class(owner, y_true, weights)
            )
        if counted is not None:
            y_true = ops.where(counted != 0, y_true, ops.zeros_like(y_true))
        true = Columns(ops.cast(y_true, _amount_dtype(y_true)))
    impossible = ranges.both(impossible, vanishing)
    return Rows(true, _flat(scores), weights, answered, impossible)


def _row_factors(
    owner: str, name: str, factors: Tensor, scores: Tensor
) -> Tensor:
    """One factor per row, `(rows, 1)`, from the shape that a user passes."""
    factors = aligned(
        owner, name, factors, scores.shape[:-1], stretch_first=True
    )
    rows = ops.broadcast_to(factors, ops.shape(scores)[:-1])
    return ops.reshape(rows, (-1, 1))


def _flat(tensor: Tensor) -> Tensor:
    """With all axes but the last in one."""
    if len(tensor.shape) == 2:
        return tensor
    return ops.reshape(tensor, (-1, tensor.shape[-1]))


def _amount_dtype(labels: Tensor) -> str:
    """Integers are counted exactly; only soft labels need fractions."""
    floats = keras.backend.is_float_dtype(dtype_of(labels))
    return "float32" if floats else "int32"
