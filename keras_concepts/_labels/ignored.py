"""Labels that are not to be ignored."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts._numerics.dtypes import dtype_of
from keras_concepts._types import Tensor
from keras_concepts._validation import plain


def checked_ignored(owner: str, ignore_class: Any) -> int | float | None:
    """`ignore_class` as a Python value: an integer, NaN or `None`.

    Raises:
        TypeError: If it is anything else.
    """
    if ignore_class is None:
        return None
    value = plain(ignore_class)
    if isinstance(value, float) and math.isnan(value):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise TypeError(
        f"`ignore_class` of `{owner}` must be an integer, or `nan` for labels "
        f"that are NaN. Received: ignore_class={ignore_class!r} of type "
        f"{type(ignore_class).__name__}."
    )


def differs(labels: Tensor, ignore_class: float) -> Tensor:
    """Whether each class number, or answer to a question, counts.

    Args:
        labels: Of any shape, signed integers or floats, of `as_labels`.
        ignore_class: The label whose entries do not count, or NaN.
    """
    dtype = dtype_of(labels)
    if keras.backend.is_float_dtype(dtype):
        if math.isnan(ignore_class):
            return ops.logical_not(ops.isnan(labels))
    elif not np.iinfo(dtype).min <= ignore_class <= np.iinfo(dtype).max:
        return ops.ones_like(labels, "bool")
    return ops.not_equal(labels, ops.cast(ignore_class, labels.dtype))


def has_other_class(labels: Tensor, ignore_class: int) -> Tensor:
    """Whether each row of dense labels counts, `(rows, 1)`.

    Args:
        labels: `(rows, C)`, one label per class.
        ignore_class: A class. Rows that are mostly of it do not count.
    """
    of_it = ops.cast(labels, "float32")[:, ignore_class, None] > 0.5
    return ops.logical_not(of_it)
