"""Norms, and sums that are exact."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from keras_concepts._backend.keras_internals import own_value
from keras_concepts._types import Tensor


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    return 2.0 * tf.stack([tf.nn.l2_loss(x) for x in tensors])


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    peaks = [tf.reduce_max(tf.abs(x)) for x in tensors]
    stacked = tf.stack(peaks)
    usable = tf.math.is_finite(stacked) & (stacked > 0.0)
    unit = tf.where(usable, tf.maximum(stacked, 1e-37), tf.ones_like(stacked))
    units = tf.unstack(unit, len(tensors))
    scaled = [x / unit for x, unit in zip(tensors, units, strict=True)]
    return unit * tf.sqrt(sums_of_squares(scaled)), stacked


def has_float64() -> bool:
    return True


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    size = variable.shape[0]
    sums = []
    if places:
        entries = tf.clip_by_value(tf.concat(places, axis=1), 0, size - 1)
        if amounts is None:
            addends = tf.ones_like(entries, tf.float64)
        else:
            each = [
                tf.ones_like(place, tf.float64)
                if amount is None
                else tf.cast(amount, tf.float64)
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = tf.concat(each, axis=1)
        sums.append(tf.math.unsorted_segment_sum(addends, entries, size))
    for start, values in columns:
        total = tf.reduce_sum(tf.cast(values, tf.float64), axis=0)
        rest = size - start - values.shape[1]
        sums.append(tf.pad(total, [[start, rest]]))
    total = sums[0] if len(sums) == 1 else tf.add_n(sums)
    totals = own_value(variable)
    if totals is None:
        variable.assign(variable.value + total)
    else:
        totals.assign_add(total)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    ones = tf.ones_like(segments, dtype)
    return tf.math.unsorted_segment_sum(ones, segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    if values.dtype.is_integer:
        return tf.math.unsorted_segment_sum(values, segments, count)
    exact = tf.cast(values, tf.float64)
    return _halves(tf.math.unsorted_segment_sum(exact, segments, count))


def column_sums(values: Tensor) -> Any:
    if values.dtype.is_integer:
        return tf.reduce_sum(values, axis=0)
    return _halves(tf.reduce_sum(tf.cast(values, tf.float64), axis=0))


def _halves(sums: Tensor) -> tuple[Tensor, Tensor]:
    high = tf.cast(sums, tf.float32)
    return high, tf.cast(sums - tf.cast(high, tf.float64), tf.float32)
