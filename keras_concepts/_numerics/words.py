"""Totals in several float32 words, which stay exact where one word does not.

A float32 total stops at 2**24: adding 1 to it changes nothing. So a total is
kept in words that add up to it, each of which holds the rounding error of the
one before. TwoSum (Knuth, The Art of Computer Programming, volume 2, section
4.2.2, theorem B) gives the rounding error of a float addition exactly, without
a branch:

    s = a + b;  t = s - a;  error = (a - (s - t)) + (b - t)

Two words, `add_to`, are the cheapest: `high + low`. Integers are exact up to
2**48, and each added value is exact to 48 bits of the total. Three words,
`ExactSum`, can also be merged across replicas.
"""

import functools
import operator
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts._numerics.dtypes import cast, dtype_of
from keras_concepts._types import Tensor


def two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The sum of two float tensors, and its rounding error."""
    total = a + b
    shift = total - a
    return total, (a - (total - shift)) + (b - shift)


def exact_floats(tensor: Tensor) -> list[Tensor]:
    """Float32 tensors that add up to a float32 or int32 tensor.

    Integers are split into two parts: the multiples of 2**16, and the rest,
    which lies in `[0, 2**16)`.
    """
    parts = [tensor]
    if keras.backend.is_int_dtype(dtype_of(tensor)):
        parts = [ops.bitwise_and(tensor, bits) for bits in (~0xFFFF, 0xFFFF)]
    return [cast(part, "float32") for part in parts]


def add_to(words: Tensor, value: Tensor) -> Tensor:
    """Two words of the totals plus a float32 or int32 tensor.

    Args:
        words: `(2, units)`.
        value: `(units,)` or `()`. Its sums with 65536 must not overflow.
    """
    high, low = words[0], words[1]
    for part in exact_floats(value):
        high, error = two_sum(high, part)
        high, low = two_sum(high, low + error)
    return ops.stack([high, low])


def as_words(total: np.ndarray) -> np.ndarray:
    """Two float32 words, `(2, ...)`, of float64 totals on the host."""
    high = total.astype("float32")
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        low = np.nan_to_num(total - high, nan=0.0, posinf=0.0, neginf=0.0)
    return np.stack([high, low.astype("float32")])


def total_of(words: Any, dtype: str = "float32") -> Any:
    """The totals that words stand for.

    Args:
        words: `(words, ...)`, the largest first. A NumPy array for a result on
            the host, where every backend has float64.
        dtype: Dtype of the result.
    """
    if isinstance(words, np.ndarray):
        parts = list(words.astype(dtype))
    else:
        parts = ops.unstack(ops.cast(words, dtype))
    return functools.reduce(operator.add, reversed(parts))
