"""Norms and counts of several tensors at once, on the device."""

from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


def l2_norms(tensors: list[Tensor], known_zero: Any = False) -> Tensor:
    """L2 norms, right also where squares leave the range of float32.

    Gradients of 1e-25, as deep sigmoid stacks have, square to zero.
    """
    totals = _backend.sums_of_squares(tensors)
    in_range = ops.logical_and(totals > 1e-30, totals < 1e30)
    return _backend.choose(
        ops.all(ops.logical_or(in_range, known_zero)),
        lambda: ops.sqrt(totals),
        lambda: ops.stack([_scaled_norm(x) for x in tensors]),
    )


def _scaled_norm(x: Tensor) -> Tensor:
    peak = ops.max(ops.abs(x))
    usable = ops.logical_and(ops.isfinite(peak), peak > 0.0)
    unit = ops.where(usable, peak, ops.ones_like(peak))
    return unit * ops.sqrt(ops.sum(ops.square(x / unit)))


def nonfinite_entries(x: Tensor) -> Tensor:
    """How many entries are NaN or infinite, float32."""
    return ops.cast(ops.sum(ops.cast(~ops.isfinite(x), "int32")), "float32")
