"""Sums that stay exact over a stream of any length, in float32.

A float32 total stops at 2**24: adding 1 to it changes nothing. No backend but
TensorFlow and PyTorch has float64, JAX has no int64, and integers hold no
weights. So a total is kept in three float32 words:

    total = high * 2**16 + low + rest

`low` lies in `[0, 2**16)`, and `rest` is what rounding took from it. Adding is
done word by word; TwoSum (Knuth, The Art of Computer Programming, volume 2,
section 4.2.2, theorem B) gives the rounding error of a float addition exactly,
without a branch:

    s = a + b;  t = s - a;  error = (a - (s - t)) + (b - t)

Integers, and multiples of 2**-24, are exact as long as the total is below
2**40, where `high` reaches 2**24. Other values are held to about 48 bits.

Each word is a sum, so replicas merge by adding words up, as Keras does with
variables of `aggregation="sum"`. The next addition brings them into their range
again.
"""

import functools
from typing import Any

from keras import ops

from keras_concepts._types import Tensor

_BASE = 2.0**16


class ExactSum:
    """A tensor of running totals in one variable of a metric.

    Args:
        metric: The `keras.Metric` that owns the variable.
        name: The variable's name.
        shape: Shape of the totals.
    """

    def __init__(self, metric: Any, name: str, shape: tuple[int, ...]) -> None:
        self._variable = metric.add_variable(
            (3, *shape), "zeros", dtype="float32", name=name
        )

    def add(self, *sums: Any) -> None:
        """Adds to each total.

        Args:
            sums: What to add; if several, one for each index of the totals'
                first axis. Each is an int32 tensor, or float32 tensors that
                add up to it, as the sums of `_backend` are.
        """
        if len(sums) == 1:
            more = _words(sums[0])
        elif any(isinstance(part, tuple) for part in sums):
            more = ops.stack([_words(part) for part in sums], axis=1)
        else:
            more = _words(ops.stack(sums))
        self._variable.assign(_add(self.words, more))

    @property
    def words(self) -> Tensor:
        """The words of each total, of shape `(3, *shape)`.

        Sums and differences of words are words of the sums and differences.
        """
        return ops.convert_to_tensor(self._variable)


def value(words: Tensor, dtype: str = "float32") -> Tensor:
    """The totals that words stand for, as floats."""
    high, low, rest = ops.unstack(ops.cast(words, dtype))
    return high * _BASE + (low + rest)


def _words(sums: Any) -> Tensor:
    if isinstance(sums, tuple):
        return functools.reduce(_add, [_words(part) for part in sums])
    high = ops.floor_divide(sums, int(_BASE))
    low = ops.cast(sums - high * int(_BASE), "float32")
    return ops.stack([ops.cast(high, "float32"), low, ops.zeros_like(low)])


def _add(words: Tensor, more: Tensor) -> Tensor:
    words, more = ops.unstack(words), ops.unstack(more)
    low, error = _two_sum(words[1], more[1])
    low, rest = _two_sum(low, words[2] + more[2] + error)
    carry = ops.floor(low / _BASE)
    return ops.stack([words[0] + more[0] + carry, low - carry * _BASE, rest])


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    total = a + b
    shift = total - a
    return total, (a - (total - shift)) + (b - shift)
