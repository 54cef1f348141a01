"""Sums that stay exact over a stream of any length.

A float32 total stops at 2**24: adding 1 to it changes nothing. Where there is
float64, a total is a float64, exact up to 2**53. JAX by default and Apple's
devices do not have float64, and integers cannot hold weights: there a total is
kept in three float32 words (see `_numerics.words`):

    total = high + low + rest

`high` is a multiple of 2**16, `low` lies between -2**16 and 2**16, and `rest`
is the rounding error. Integers, and multiples of 2**-24, are exact as long as
the total is below 2**40, up to where `high` is exact. Other values are kept to
about 48 bits.

Each word is a sum, so replicas merge by adding their words, as Keras does with
variables of `aggregation="sum"`. The next addition brings the words back into
their ranges.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.dtypes import cast, dtype_of
from keras_concepts._numerics.words import exact_floats, two_sum
from keras_concepts._types import Tensor

_BASE = 2.0**16
# Limit of the sum of all totals: beyond it, float32 sums and products overflow.
_MOST = 2.0**126
# Number of totals from which on it pays to update only those that change.
_MANY = 2**14


class ExactSum:
    """A tensor of running totals in a variable of a metric.

    There is an extra total at each end: the first for entries that do not
    count, the last for unknown ones, which make all totals NaN.

    Args:
        metric: The `keras.Metric` that owns the variable.
        name: Name of the variable.
        shape: Shape of the totals.
    """

    def __init__(self, metric: Any, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._size = math.prod(shape) + 2
        self._in_float64 = _backend.has_float64()
        self._variable = metric.add_variable(
            (self._size,) if self._in_float64 else (3, self._size),
            "zeros",
            dtype="float64" if self._in_float64 else "float32",
            name=name,
        )

    @property
    def words(self) -> Tensor:
        """The words of each total, of shape `(words, *shape)`.

        One float64 or three float32. Sums and differences of words are words
        of the sums and differences.
        """
        words = ops.reshape(self._read(), (-1, self._size))
        totals = ops.sum(words, axis=0)
        # Beyond float32's range, results would be NaN or 0 by chance.
        size = ops.sum(ops.abs(totals[1:-1]))
        known = ops.logical_and(totals[-1] == 0, size < _MOST)
        words = ops.where(known, words[:, 1:-1], float("nan"))
        return ops.reshape(words, (-1, *self.shape))

    def add(self, columns: Sequence[tuple[int, Tensor]]) -> None:
        """Adds sums over rows.

        Args:
            columns: Pairs of a place in the flattened totals and a tensor,
                `(rows, k)`, integers, booleans or floats, whose sums over the
                rows are added to the `k` totals from that place on.
        """
        columns = [(start + 1, values) for start, values in columns]
        if self._in_float64:
            _backend.add_to_totals(self._variable, [], None, columns)
            return
        add = _adding(tuple(start for start, _ in columns))
        words = add(self._read(), [values for _, values in columns])
        self._variable.assign(words)

    def add_unknown(self, rows: Tensor) -> None:
        """Makes all totals NaN if any of the booleans, `(rows, k)`, is true."""
        if rows.shape[1] != 1:
            rows = ops.any(rows, axis=1, keepdims=True)
        self.add([(self._size - 2, rows)])

    def add_entries(
        self,
        numbers: Sequence[tuple[int, Tensor]],
        amounts: Sequence[Tensor | None],
    ) -> None:
        """Adds to totals given by their places.

        Args:
            numbers: Pairs of a place in the flattened totals and integers,
                `(rows, k)`, that are added to the place. A negative result does
                not count; one beyond the totals makes them NaN.
            amounts: What to add, int32 or float32, of the same shapes; `None`
                for ones.
        """
        places = [each + (start + 1) for start, each in numbers]
        ones = all(amount is None for amount in amounts)
        if self._in_float64:
            _backend.add_to_totals(
                self._variable, places, None if ones else amounts, []
            )
        else:
            words = _with_entries(self._read(), places, amounts)
            self._variable.assign(words)

    def _read(self) -> Tensor:
        # `value` because TensorFlow treats the variable itself as a tensor; the
        # conversion because PyTorch traces shapes on a separate device.
        return ops.convert_to_tensor(self._variable.value)


@functools.cache
def _adding(starts: tuple[int, ...]) -> Callable[..., Tensor]:
    """A function that adds sums over rows to words, from given places on."""

    def add(words: Tensor, columns: Sequence[Tensor]) -> Tensor:
        for start, values in zip(starts, columns, strict=True):
            after = words.shape[1] - start - values.shape[1]
            if not keras.backend.is_float_dtype(dtype_of(values)):
                values = cast(values, "int32")
            parts = _parts(_backend.column_sums(values))
            words = _add(
                words, [ops.pad(part, ((start, after),)) for part in parts]
            )
        return words

    return _backend.compiled(add)


@_backend.compiled
def _with_entries(
    words: Tensor, places: Sequence[Tensor], amounts: Sequence[Tensor | None]
) -> Tensor:
    """The words after adding amounts at some places."""
    size = words.shape[1]
    entries = ops.reshape(ops.concatenate(places, axis=1), (-1,))
    entries = ops.clip(ops.cast(entries, "int32"), 0, size - 1)
    count = entries.shape[0]
    if all(amount is None for amount in amounts):
        exact = count is not None and count <= 2**24
        dtype = "float32" if exact else "int32"
        sums = _backend.segment_counts(entries, size, dtype)
    else:
        # Keras converts to float if integers and floats are concatenated.
        addends = ops.concatenate(
            [
                ops.ones_like(place, "int32") if amount is None else amount
                for place, amount in zip(places, amounts, strict=True)
            ],
            axis=1,
        )
        sums = _backend.segment_sums(addends, entries, size)
    few = size >= _MANY if count is None else count < size / 4
    return (_add_at if few else _add)(words, _parts(sums), entries)


def _parts(sums: Any) -> Sequence[Tensor]:
    return sums if isinstance(sums, tuple) else (sums,)


def _add(words: Tensor, parts: Any, places: Tensor = None) -> Tensor:
    """Words of the totals plus one int32 or two float32 tensors."""
    del places  # all of them
    high, low, rest = ops.unstack(words)
    first, *small = parts
    *multiples, addend = exact_floats(first)
    high = sum(multiples, high)
    low, error = two_sum(low, addend)
    low, rest = two_sum(low, sum(small, rest + error))
    # Towards 0: the remainder of `low` is then exact, whatever its sign.
    carry = ops.trunc(low * (1 / _BASE)) * _BASE
    return ops.stack([high + carry, low - carry, rest])


def _add_at(words: Tensor, parts: Any, places: Tensor) -> Tensor:
    """The same, but only the totals at some places change."""
    # A place that occurs twice is assigned the same words twice.
    size = words.shape[1]
    changed = _add(
        ops.take(words, places, axis=1),
        [ops.take(part, places) for part in parts],
    )
    flat = ops.scatter_update(
        ops.reshape(words, (-1,)),
        ops.concatenate([places, places + size, places + 2 * size])[:, None],
        ops.reshape(changed, (-1,)),
    )
    return ops.reshape(flat, words.shape)
