"""Adding the counts of each class in a batch to running totals."""

from keras import ops

from keras_concepts._labels.class_amounts import (
    Classes,
    Columns,
    Indices,
    overlap,
)
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._types import Tensor


def count_hits(
    total: ExactSum, rows: Rows, labels: Classes, predictions: Classes
) -> None:
    """Adds labels, predictions and hits to totals of shape `(3, classes)`."""
    counted = (labels, predictions, overlap(labels, predictions))
    count(total, *map(rows.weighted, counted))
    # Unknown predictions make the totals NaN.
    unknown = predictions.unknown if isinstance(predictions, Columns) else None
    count_unknown(total, rows, unknown)


def count_unknown(total: ExactSum, rows: Rows, *each: Tensor | None) -> None:
    """Makes the totals NaN if a row that counts has an unknown value.

    Args:
        total: The totals.
        rows: The rows, of which some labels may be impossible.
        each: Other unknown values, booleans, `(rows, k)`, or `None`.
    """
    for unknown in (rows.impossible, *each):
        if unknown is not None:
            if rows.weights is not None:
                unknown = ops.logical_and(unknown, rows.weights != 0)
            total.add_unknown(unknown)


def add_mean(total: ExactSum, values: Tensor, weights: Tensor) -> None:
    """Adds to the two totals whose quotient is a weighted mean.

    Args:
        total: Of shape `(2,)`.
        values: `(rows,)`. May hold anything in rows of weight 0.
        weights: `(rows,)`.
    """
    values = ops.where(weights == 0, 0, values * weights)
    total.add([(0, ops.stack([values, weights], axis=1))])


def count(total: ExactSum, *each: Classes) -> None:
    """Adds the amounts of each class to totals of shape `(len(each), classes)`.

    Only the first may hold negative class numbers other than `NOWHERE`.
    """
    columns, indices = [], []
    for row, classes in enumerate(each):
        if isinstance(classes, Indices):
            indices.append((row * classes.num_classes, classes))
        else:
            columns.append((row * classes.num_classes, classes.amounts))
    if columns:
        total.add(columns)
    if indices:
        total.add_entries(
            [(offset, classes.numbers) for offset, classes in indices],
            [classes.amounts for _, classes in indices],
        )
