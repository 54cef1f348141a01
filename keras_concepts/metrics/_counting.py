"""Adding what rows hold of each class to running totals."""

from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import Classes, Indices, overlap
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._types import Tensor


def count_hits(
    total: ExactSum, rows: Rows, labels: Classes, predictions: Classes
) -> None:
    """Adds labels, predictions and hits to totals of shape `(3, classes)`."""
    counted = (labels, predictions, overlap(labels, predictions))
    count(total, *map(rows.weighted, counted))


def add_mean(total: ExactSum, values: Tensor, weights: Tensor) -> None:
    """Adds to the two totals whose quotient is a weighted mean.

    Args:
        total: Of shape `(2,)`.
        values: `(rows,)`.
        weights: `(rows,)`.
    """
    pairs = ops.stack([values * weights, weights], axis=1)
    total.add(_backend.column_sums(pairs))


def count(total: ExactSum, *each: Classes) -> None:
    """Adds the amounts of each class to totals of shape `(len(each), classes)`.

    Only the first may hold negative class numbers other than `NOWHERE`.
    """
    if len({classes.dtype for classes in each}) > 1:
        each = tuple(classes.as_float() for classes in each)
    indices = [classes for classes in each if isinstance(classes, Indices)]
    if len(indices) == len(each):
        places, amounts = [], []
        for row, classes in enumerate(indices):
            offset = row * classes.num_classes
            places.append(classes.numbers + offset if row else classes.numbers)
            amounts.append(classes.amounts)
        if all(amount is None for amount in amounts):
            total.add_entries(ops.concatenate(places, axis=1), None)
        else:
            amounts = [classes.filled() for classes in indices]
            total.add_entries(
                ops.concatenate(places, axis=1),
                ops.concatenate(amounts, axis=1),
            )
        return
    sums = [classes.sums() for classes in each]
    if isinstance(sums[0], tuple):
        total.add(tuple(ops.stack(part) for part in zip(*sums, strict=True)))
    else:
        total.add(ops.stack(sums))
