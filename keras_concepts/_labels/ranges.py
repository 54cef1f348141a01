"""Labels and predictions out of range.

Where values can be read, in eager execution on a CPU, such labels raise an
error. A compiled step cannot raise: there the positions are returned, to make
the result NaN. Entries that do not count, such as padding, may hold anything.
"""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.tensors import LABELS, as_tensor
from keras_concepts._numerics.dtypes import cast, dtype_of
from keras_concepts._types import Tensor

# Mixed labels that were computed in half precision overshoot 1 a little.
_ROUNDING = 0.01
# So do the sums of rows of them.
_ROUNDING_OF_SUMS = 0.02
# Smaller weights leave the range in which float32 has full precision.
_LEAST_WEIGHT = 1e-30
# Finite differences move probabilities slightly past 0 and 1; logits are far
# beyond.
_OVERSHOOT = 0.1


def as_labels(owner: str, y_true: Any) -> Tensor:
    """Labels as a tensor of floats or signed integers, of 32 bits or more.

    Fewer bits may not hold every class number that labels are compared with.

    Raises:
        TypeError: If they are not numbers.
    """
    y_true = as_tensor(owner, LABELS, y_true)
    if dtype_of(y_true).startswith(("bool", "uint", "int8", "int16")):
        return ops.cast(y_true, "int32")
    if dtype_of(y_true).startswith(("float8", "float16", "bfloat16")):
        return ops.cast(y_true, "float32")
    return y_true


def misnumbered(
    owner: str, numbers: Tensor, classes: int, counted: Tensor | None
) -> Tensor | None:
    """Where class numbers are not among the classes.

    Args:
        owner: Name of the loss or metric, for error messages.
        numbers: Class numbers, integers or floats.
        classes: Number of classes.
        counted: Which of them count, or how much; can be broadcast to
            `numbers`.

    Returns:
        As `outside`.

    Raises:
        ValueError: As `outside`.
    """
    floats = keras.backend.is_float_dtype(dtype_of(numbers))
    return outside(
        f"Labels of `{owner}` must lie between 0 and {classes - 1}"
        f"{', and be whole numbers' if floats else ''}",
        numbers,
        0,
        classes - 1,
        counted,
        whole=floats,
    )


def not_shares(
    owner: str, shares: Tensor, counted: Tensor | None
) -> Tensor | None:
    """Where labels, one per class, do not lie between 0 and 1."""
    floats = keras.backend.is_float_dtype(dtype_of(shares))
    rounding = _ROUNDING if floats else 0
    return outside(
        f"Labels of `{owner}` must lie between 0 and 1",
        shares,
        -rounding,
        1 + rounding,
        counted,
    )


def not_one_class(
    owner: str, shares: Tensor, counted: Tensor | None
) -> Tensor | None:
    """Which rows of dense labels, `(rows, C)`, do not sum to 1."""
    sums = ops.sum(cast(shares, "float32"), axis=1, keepdims=True)
    return outside(
        f"Labels of `{owner}` must be one class per row, and sum to 1",
        sums,
        1 - _ROUNDING_OF_SUMS,
        1 + _ROUNDING_OF_SUMS,
        counted,
        what="sums",
    )


def outside(
    wanted: str,
    labels: Tensor,
    low: float,
    high: float,
    counted: Tensor | None,
    *,
    whole: bool = False,
    what: str = "labels",
) -> Tensor | None:
    """Where labels are out of a range.

    Args:
        wanted: Beginning of the error message.
        labels: Integers or floats.
        low: Smallest value allowed.
        high: Largest value allowed.
        counted: Which of them count, or how much.
        whole: Whether they must be whole numbers.
        what: Name of the labels in the error message.

    Returns:
        Booleans of the shape of `labels`, or `None` if there are none.

    Raises:
        ValueError: If there are such labels and they can be read.
    """
    values, counts = known(labels), None if counted is None else known(counted)
    if values is None or (counts is None and counted is not None):
        bad = _outside(ops, labels, low, high, whole)
        return bad if counted is None else ops.logical_and(bad, counted != 0)
    if not values.size or (
        not whole and low <= values.min() and values.max() <= high
    ):
        return None
    bad = _outside(np, values, low, high, whole)
    if counts is not None:
        bad = bad & (counts != 0)
    if not bad.any():
        return None
    received = np.broadcast_to(values, bad.shape)[bad]
    raise ValueError(
        f"{wanted}. To leave out rows without a label, label them with an "
        "unused number, such as -1, and pass it as `ignore_class`. Received: "
        f"{what} from {received.min()} to {received.max()}."
    )


def _outside(
    library: Any, labels: Any, low: float, high: float, whole: bool
) -> Any:
    # Of NaN, no comparison is true.
    inside = library.logical_and(labels >= low, labels <= high)
    if whole:
        inside = library.logical_and(inside, labels == library.floor(labels))
    return library.logical_not(inside)


def not_probabilities(
    y_pred: Tensor, counted: Tensor | None, high: float = 1.0
) -> Tensor | np.ndarray | None:
    """Where predictions are not probabilities.

    Args:
        y_pred: Predictions. NaN and infinities are ignored.
        counted: Which of them count, or how much.
        high: Largest value allowed.

    Returns:
        Booleans of the shape of `y_pred`, or `None` if there are none. Of
        NumPy, and not all of them false, where values can be read.
    """
    low, high = -_OVERSHOOT, high + _OVERSHOOT
    values, counts = known(y_pred), None if counted is None else known(counted)
    if values is None or (counts is None and counted is not None):
        bad = ops.logical_or(y_pred < low, y_pred > high)
        bad = ops.logical_and(bad, ops.isfinite(y_pred))
        return bad if counted is None else ops.logical_and(bad, counted != 0)
    if not values.size or (low <= values.min() and values.max() <= high):
        return None
    bad = ((values < low) | (values > high)) & np.isfinite(values)
    if counts is not None:
        bad = bad & (counts != 0)
    return bad if bad.any() else None


def vanishing(owner: str, weights: Tensor) -> Tensor | None:
    """Which weights are so small that products with them lose their digits.

    Raises:
        ValueError: If there are such weights and they can be read.
    """
    values = known(weights)
    if values is None:
        return ops.logical_and(weights != 0, ops.abs(weights) < _LEAST_WEIGHT)
    sizes = np.abs(values)
    small = (sizes > 0) & (sizes < _LEAST_WEIGHT)
    if small.any():
        raise ValueError(
            f"Sample weights of `{owner}` must be 0, or at least "
            f"{_LEAST_WEIGHT:g}. Multiply all of them by the same number. "
            f"Received: weights down to {sizes[small].min():g}."
        )
    return None


def known(tensor: Tensor) -> np.ndarray | None:
    """A tensor's values as NumPy can compare them, if they can be read."""
    if _backend.in_symbolic_scope():  # where values are made up by Keras
        return None
    values = _backend.known_value(tensor)
    if values is not None and values.dtype.kind not in "biuf":
        values = values.astype("float32")  # bfloat16
    return values


def both(*places: Tensor | None) -> Tensor | None:
    """Places that are among any of several; `None` if there are none."""
    found = [each for each in places if each is not None]
    return functools.reduce(ops.logical_or, found) if found else None
