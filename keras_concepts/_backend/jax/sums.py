"""Norms, and sums that are exact."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from keras_concepts._types import Tensor


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    # XLA's CPU compiler generates faster code for a product than for a sum.
    exact = jax.lax.Precision.HIGHEST
    return jnp.stack(
        [jnp.tensordot(x, x, axes=x.ndim, precision=exact) for x in tensors]
    )


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    # Scalars, not entries of vectors: XLA takes ten times as long to compile a
    # product with an element that it must first extract.
    peaks = [jnp.max(jnp.abs(x)) for x in tensors]
    units = [
        jnp.where(jnp.isfinite(p) & (p > 0.0), jnp.maximum(p, 1e-37), 1.0)
        for p in peaks
    ]
    scaled = [x / unit for x, unit in zip(tensors, units, strict=True)]
    norms = jnp.stack(units) * jnp.sqrt(sums_of_squares(scaled))
    return norms, jnp.stack(peaks)


def has_float64() -> bool:
    return bool(jax.config.jax_enable_x64)


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    totals = variable.value
    if places:
        entries = jnp.concatenate(places, axis=1)
        entries = jnp.clip(entries, 0, totals.shape[0] - 1)
        addends: Any = 1.0
        if amounts is not None:
            each = [
                jnp.ones(place.shape) if amount is None else amount
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = jnp.concatenate(each, axis=1)
        totals = totals.at[entries].add(addends)
    for start, values in columns:
        part = totals.at[start : start + values.shape[1]]
        totals = part.add(values.sum(axis=0, dtype=totals.dtype))
    variable.assign(totals)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    return _scattered(jnp.ones((), dtype), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    values, segments = values.reshape(-1), segments.reshape(-1)
    if jnp.issubdtype(values.dtype, jnp.integer):
        return _scattered(values, segments, count)
    if values.size * count <= _FEW:
        mine = segments[:, None] == jnp.arange(count)
        return column_sums(jnp.where(mine, values[:, None], 0))
    return _digit_by_digit(values, segments, count)


# Up to this size it is faster to sum all segments in one table.
_FEW = 2**16


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    zeros = jnp.zeros((count,), entries.dtype)
    return zeros.at[segments.reshape(-1)].add(entries)


def column_sums(values: Tensor) -> Any:
    if jnp.issubdtype(values.dtype, jnp.integer):
        return values.sum(axis=0)
    # There is no float64. So add halves of the rows, then halves of those, and
    # keep the rounding error of each sum beside it (`_numerics.words`).
    high, low = values, None
    while high.shape[0] > 1:
        # Eight parts at once: each step is a separate pass.
        parts = min(8, high.shape[0])
        highs = _divided(high, parts)
        lows = [0.0] * parts if low is None else _divided(low, parts)
        high, low = highs[0], lows[0]
        for part, rest in zip(highs[1:], lows[1:], strict=True):
            before, high = high, high + part
            shift = high - before
            low += (before - (high - shift)) + (part - shift)
            low += rest
    if low is None:  # at most one row
        low = jnp.zeros_like(high)
    return high.sum(axis=0), low.sum(axis=0)


def _divided(rows: Tensor, parts: int) -> list[Tensor]:
    """Rows divided into that many parts; the last may end in zeros."""
    length = -(-rows.shape[0] // parts)
    missing = parts * length - rows.shape[0]
    padded = jnp.pad(rows, ((0, missing), *[(0, 0)] * (rows.ndim - 1)))
    return [padded[i * length : (i + 1) * length] for i in range(parts)]


def _digit_by_digit(values: Tensor, segments: Tensor, count: int) -> Any:
    # Write the values as integers in units of a power of two, `bits` binary
    # places at a time, which is few enough that no sum can overflow.
    bits = 30 - max(values.shape[0], 1).bit_length()
    if bits < 1:
        sums = _scattered(values, segments, count)
        return sums, jnp.zeros_like(sums)
    largest = jnp.zeros((count,), values.dtype).at[segments]
    largest = largest.max(jnp.abs(values))
    _, unit = jnp.frexp(largest)
    _, unit_of_each = jnp.frexp(largest[segments])
    rest = jnp.ldexp(values, -unit_of_each)
    high, low = 0.0, 0.0
    for _ in range(-(-40 // bits)):
        unit, rest = unit - bits, jnp.ldexp(rest, bits)
        digits = jnp.round(rest)
        rest = rest - digits
        total = _scattered(digits.astype(jnp.int32), segments, count)
        # An integer of 31 bits is two exact floats.
        for part in (total >> 15 << 15, total & 0x7FFF):
            addend = jnp.ldexp(part.astype(jnp.float32), unit)
            before, high = high, high + addend
            shift = high - before
            low += (before - (high - shift)) + (addend - shift)
    # None of these steps keeps a NaN.
    unknown = jnp.logical_not(jnp.isfinite(values)).astype(jnp.int32)
    unknown = _scattered(unknown, segments, count)
    return jnp.where(unknown > 0, jnp.nan, high), low
