"""Sums that stay exact over a stream of any length, in float32.

No backend but TensorFlow and PyTorch has float64, JAX has no int64, and
integers hold no weights. So a total is kept in three float32 words (see
`_numerics.words`):

    total = high + low + rest

`high` is a multiple of 2**16, `low` lies in `[0, 2**16)`, and `rest` is what
rounding took from it. Integers, and multiples of 2**-24, are exact as long as
the total is below 2**40, up to where `high` is exact. Other values are held to
about 48 bits.

Each word is a sum, so replicas merge by adding words up, as Keras does with
variables of `aggregation="sum"`. The next addition brings them into their range
again.
"""

import math
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.words import exact_floats, two_sum
from keras_concepts._types import Tensor

_BASE = 2.0**16
# Where the number of entries is not known beforehand: from how many totals on
# it pays to touch only those that change.
_MANY = 2**14


class ExactSum:
    """A tensor of running totals in three variables of a metric.

    Args:
        metric: The `keras.Metric` that owns the variables.
        name: What their names begin with.
        shape: Shape of the totals.
    """

    def __init__(self, metric: Any, name: str, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self._size = math.prod(shape)
        self._variable = metric.add_variable(
            (3, self._size), "zeros", dtype="float32", name=name
        )

    @property
    def words(self) -> Tensor:
        """The words of each total, of shape `(3, *shape)`.

        Sums and differences of words are words of the sums and differences.
        """
        return ops.reshape(self._read(), (3, *self.shape))

    def add(self, sums: Any) -> None:
        """Adds to each total.

        Args:
            sums: What to add, in the totals' shape: an int32 tensor, or two
                float32 tensors that add up to it, as `_backend` gives it.
        """
        parts = sums if isinstance(sums, tuple) else (sums,)
        parts = [ops.reshape(part, (-1,)) for part in parts]
        self._variable.assign(_add(self._read(), parts))

    def add_entries(self, places: Tensor, amounts: Tensor | None) -> None:
        """Adds to totals by their place.

        Args:
            places: Places in the flattened totals, int32, of any shape. Those
                that are negative are left out.
            amounts: What to add, int32 or float32, of the same shape. `None`
                for ones.
        """
        entries = None if None in places.shape else math.prod(places.shape)
        if amounts is None:
            exact = entries is not None and entries <= 2**24
            dtype = "float32" if exact else "int32"
            sums = _backend.segment_counts(places, self._size, dtype)
        else:
            sums = _backend.segment_sums(amounts, places, self._size)
        parts = sums if isinstance(sums, tuple) else (sums,)
        words = self._read()
        few = (
            self._size >= _MANY if entries is None else entries < self._size / 4
        )
        self._variable.assign(
            _add_at(words, parts, ops.reshape(places, (-1,)))
            if few
            else _add(words, parts)
        )

    def _read(self) -> Tensor:
        # `value` because TensorFlow takes the variable itself for a tensor;
        # the conversion because PyTorch traces shapes on a device of its own.
        return ops.convert_to_tensor(self._variable.value)


def _add(words: Tensor, parts: Any) -> Tensor:
    """Words of the totals and one int32, or two float32 tensors, together."""
    high, low, rest = ops.unstack(words)
    first, *small = parts
    *multiples, addend = exact_floats(first)
    high = sum(multiples, high)
    low, error = two_sum(low, addend)
    low, rest = two_sum(low, sum(small, rest + error))
    carry = ops.floor(low * (1 / _BASE)) * _BASE
    return ops.stack([high + carry, low - carry, rest])


def _add_at(words: Tensor, parts: Any, places: Tensor) -> Tensor:
    """The same, where all totals but those at some places stay as they are."""
    # A place that occurs twice gets the same words twice; what counts nowhere
    # does as the first.
    places = ops.maximum(places, 0)
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
