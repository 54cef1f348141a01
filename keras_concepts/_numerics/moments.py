"""Moments of each unit, for a batch and for a stream of any length."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.words import add_to, as_words, total_of
from keras_concepts._types import Tensor


class Moments(NamedTuple):
    """Moments of each unit over the entries of one batch.

    Attributes:
        count: Entries that were counted, int32, `(units,)` or `()`.
        mean: Float32, `(units,)`; 0 where nothing was counted.
        rest: The rounding error of `mean`, float32.
        squares: Sum of squared distances from the mean, float32, `(units,)`.
    """

    count: Tensor
    mean: Tensor
    rest: Tensor
    squares: Tensor


def unit_moments(
    x: Tensor, mask: Tensor | None = None, axis: int = -1
) -> Moments:
    """Moments of a batch, over all axes but one.

    In two passes; the second corrects the first (Chan, Golub & LeVeque 1983,
    eq. 1.7): with `d = x - m` the mean is `m + mean(d)` and the sum of squares
    `sum(d²) - n mean(d)²`. The error of a float32 mean of many entries far from
    0 exceeds their rounding.

    Args:
        x: Batch, float32.
        mask: See `counted`.
        axis: Axis of the units.
    """
    axes = [i for i in range(len(x.shape)) if i != axis % len(x.shape)]
    counts = counted(x, mask)
    if counts is None:
        count = ops.cast(ops.prod(ops.stack(_sizes(x, axes))), "int32")
    else:
        count = ops.sum(ops.cast(counts, "int32"), axes)
        x = ops.where(counts, x, 0.0)
    n = ops.maximum(ops.cast(count, "float32"), 1.0)
    first = ops.sum(x, axes, keepdims=True) / ops.reshape(
        n, [1 if i in axes else -1 for i in range(len(x.shape))]
    )
    distance = x - first
    if counts is not None:
        distance = ops.where(counts, distance, 0.0)
    rest = ops.sum(distance, axes) / n
    squares = ops.sum(ops.square(distance), axes) - n * ops.square(rest)
    return Moments(
        count, ops.reshape(first, (-1,)), rest, ops.maximum(squares, 0.0)
    )


def moments_of_replicas(own: Moments) -> Moments:
    """Moments of a whole batch, of which each replica has a share.

    Must be called as `_backend.of_all_replicas` is.
    """
    gathered = _backend.of_all_replicas(list(own))
    if gathered is None:
        return own
    counts, means, rests, squares = gathered
    n = ops.cast(counts, "float32")
    n = ops.reshape(n, (n.shape[0], -1))  # one column, or one per unit
    total = ops.maximum(ops.sum(n, 0), 1.0)
    # Relative to the largest share, since a share may be empty.
    base = ops.max(ops.where(n == ops.max(n, 0), means, -np.inf), 0)
    distances = (means - base) + rests
    rest = ops.sum(n * distances, 0) / total
    squares = ops.sum(squares + n * ops.square(distances - rest), 0)
    return Moments(ops.sum(counts, 0), base, rest, squares)


def counted(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """Which entries of `x` a mask keeps, or `None` for all.

    Args:
        x: Tensor.
        mask: `True` for what counts, over the first axes of `x`.
    """
    if mask is None:
        return None
    entries: Tensor = ops.cast(mask, "bool")
    for _ in range(len(x.shape) - len(entries.shape)):
        entries = ops.expand_dims(entries, -1)
    return ops.broadcast_to(entries, ops.shape(x))


def _sizes(x: Tensor, axes: Sequence[int]) -> list[Tensor]:
    shape = ops.shape(x)
    return [ops.cast(shape[i], "int32") for i in axes]


class UnitTotals(NamedTuple):
    """What `UnitTotals.rows` rows of float32 hold for each unit of a stream.

    The sums are of distances from `shift`, the mean of the first batch. So the
    variance, a difference of them, loses no digits to a large mean.

    Attributes:
        shift: `(1, units)`.
        count: Entries, as words, `(2, units)`.
        total: Sum of the distances, as words.
        squares: Sum of the squared distances, as words.
    """

    shift: Tensor
    count: Tensor
    total: Tensor
    squares: Tensor

    rows = 7

    @classmethod
    def unpacked(cls, state: Tensor) -> "UnitTotals":
        """The totals in a tensor of at least `rows` rows, `(rows, units)`."""
        return cls(state[:1], state[1:3], state[3:5], state[5:7])

    def plus(self, batch: Moments) -> "UnitTotals":
        """The totals of the stream and a batch together."""
        n = ops.cast(batch.count, "float32")
        fresh = ops.logical_and(ops.equal(self.count[:1], 0.0), n > 0.0)
        shift = ops.where(fresh, batch.mean[None], self.shift)
        distance = (batch.mean - shift[0]) + batch.rest
        units = ops.zeros_like(batch.mean)
        return UnitTotals(
            shift,
            add_to(self.count, batch.count + ops.cast(units, "int32")),
            add_to(self.total, n * distance),
            add_to(self.squares, batch.squares + n * (distance * distance)),
        )

    def packed(self) -> Tensor:
        """The totals as one tensor."""
        return ops.concatenate(list(self), axis=0)


def joined_totals(states: Sequence[np.ndarray]) -> np.ndarray:
    """Joins packed `UnitTotals` of several streams, on the host."""
    if len(states) == 1:
        return states[0][: UnitTotals.rows]
    parts = [UnitTotals.unpacked(state) for state in states]
    shift = np.zeros_like(parts[0].shift)
    for part in reversed(parts):  # ends with the first that has counted
        shift = np.where(part.count[:1] > 0.0, part.shift, shift)
    sums = np.zeros((3, shift.shape[-1]))
    for part in parts:
        count, total, squares = (
            total_of(words, "float64") for words in part[1:]
        )
        far = (part.shift - shift)[0].astype("float64")
        far = np.where(count > 0.0, far, 0.0)
        sums += (
            count,
            total + count * far,
            squares + 2.0 * far * total + count * far**2,
        )
    return np.concatenate([shift, *map(as_words, sums)])


def mean_and_variance(state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each unit, in float64; NaN where nothing was counted.

    Args:
        state: Packed `UnitTotals`, on the host.
    """
    totals = UnitTotals.unpacked(state)
    with np.errstate(invalid="ignore"):  # 0 / 0
        count = total_of(totals.count, "float64")
        distance = total_of(totals.total, "float64") / count
        variance = total_of(totals.squares, "float64") / count - distance**2
        return totals.shift[0] + distance, np.maximum(variance, 0.0)
