"""Batches as rows: labels, scores and weights of every entry."""

import functools
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import (
    NOWHERE,
    Classes,
    Columns,
    Indices,
)
from keras_concepts._labels.ignored import differs, has_other_class
from keras_concepts._labels.predictions import probabilities
from keras_concepts._labels.shapes import match, with_class_axis
from keras_concepts._labels.weights import aligned
from keras_concepts._numerics.dtypes import as_float, cast, dtype_of, multiply
from keras_concepts._types import Tensor


class Rows(NamedTuple):
    """A batch as rows.

    Attributes:
        labels: What is true.
        scores: `(rows, classes)`: what the model put out.
        weights: `(rows, 1)`, float32, or int32 zeros and ones, or `None`.
        impossible: Which labels cannot be, booleans, or `None`.
    """

    labels: Classes
    scores: Tensor
    weights: Tensor | None
    impossible: Tensor | None = None

    def weighted(self, classes: Classes) -> Classes:
        """Amounts times the weights of their rows."""
        return classes if self.weights is None else classes.scaled(self.weights)

    def float_weights(self) -> Tensor:
        """The weight of each row, `(rows,)`, float32; 1 without weights."""
        if self.weights is None:
            return ops.ones_like(self.scores[:, 0], "float32")
        return ops.cast(self.weights[:, 0], "float32")

    def probabilities(self, *, from_logits: bool) -> Tensor:
        """The scores as float32 probabilities."""
        scores = ops.cast(self.scores, "float32")
        if not from_logits:
            return scores
        shares = probabilities(scores, binary=scores.shape[1] == 1)
        # Not every softmax hands a NaN on to the whole row.
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
    ignore_class: int | None,
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
        ignore_class: Rows with this label weigh nothing.

    Raises:
        ValueError: If shapes do not fit each other.
    """
    y_pred = with_class_axis(as_float(y_pred))
    if y_pred.shape[axis] is None:
        raise ValueError(
            f"`{owner}` must know the number of classes. Received: y_pred of "
            f"shape {tuple(y_pred.shape)} and axis={axis}."
        )
    y_true, scores, form = match(
        owner,
        ops.convert_to_tensor(y_true),
        y_pred,
        axis,
        wanted=labels,
        options=f" and labels={labels!r}",
    )
    num_classes = scores.shape[-1]
    true: Classes
    y_true = _flat(y_true)
    impossible = None
    if keras.backend.is_float_dtype(dtype_of(y_true)):
        values = _backend.known_value(y_true)
        if values is None or np.isnan(values).any():
            impossible = _backend.has_nan(y_true)
    if form == "sparse":
        y_true = cast(y_true, _backend.CLASS_NUMBERS)
        numbers = _backend.fill(y_true, y_true >= num_classes, NOWHERE)
        true = Indices(numbers, num_classes)
    else:
        y_true = ops.cast(y_true, _amount_dtype(y_true))
        true = Columns(y_true)

    factors = []
    if mask is not None:
        factors.append(_row_factors(owner, "mask", mask, "int32", scores))
    if ignore_class is not None:
        if form == "dense" and num_classes > 1:
            counted = has_other_class(owner, y_true, ignore_class)
        else:
            counted = differs(y_true, ignore_class)
        factors.append(ops.cast(counted, "int32"))
    if sample_weight is not None:
        factors.append(
            _row_factors(
                owner, "sample_weight", sample_weight, "float32", scores
            )
        )
    weights = functools.reduce(multiply, factors) if factors else None
    if impossible is not None and isinstance(true, Columns) and factors:
        # Nothing times NaN is NaN.
        true = Columns(ops.where(weights != 0, true.amounts, 0))
    return Rows(true, _flat(scores), weights, impossible)


def _row_factors(
    owner: str, name: str, factors: Any, dtype: str, scores: Tensor
) -> Tensor:
    """One factor per row, `(rows, 1)`, from the shape that a user gives."""
    factors = ops.cast(ops.convert_to_tensor(factors), dtype)
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
