"""Norms, and sums that are exact."""

from collections.abc import Sequence
from typing import Any

import keras
import torch

from keras_concepts._backend.keras_internals import own_value
from keras_concepts._backend.torch.tensors import snapshot
from keras_concepts._types import Tensor


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).square()


def _peaks(tensors: list[Tensor]) -> Tensor:
    # Twelve times as fast on a CPU as a norm of infinite order.
    ends = [torch.aminmax(x) for x in tensors]
    highest = torch.stack([end.max for end in ends])
    return torch.maximum(highest, -torch.stack([end.min for end in ends]))


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    largest = _peaks(tensors)
    norms = torch.stack(torch._foreach_norm(tensors))
    in_range = (norms > 1e-15) & (norms < 1e15) | (largest == 0.0)
    if norms.device.type == "cpu" and bool(in_range.all()):
        return norms, largest
    usable = torch.isfinite(largest) & (largest > 0.0)
    units = torch.where(usable, largest.clamp(min=1e-37), 1.0)
    scaled = torch._foreach_norm(
        [x / unit for x, unit in zip(tensors, units, strict=True)]
    )
    return units * torch.stack(scaled), largest


def has_float64() -> bool:
    return keras.ops.zeros(()).device.type != "mps"  # Apple's has no float64


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    totals = own_value(variable)
    in_place = totals is not None
    if not in_place:
        totals = snapshot(variable)
    if places:
        entries = torch.cat(list(places), dim=1).view(-1)
        entries.clamp_(0, totals.shape[0] - 1)
        if amounts is None:
            addends = totals.new_ones(entries.shape)
        else:
            each = [
                totals.new_ones(place.shape)
                if amount is None
                else amount.detach().to(totals.dtype)
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = torch.cat(each, dim=1).view(-1)
        totals.index_add_(0, entries, addends)
    for start, values in columns:
        # Integers are summed four times as fast without a conversion.
        exact = totals.dtype if values.is_floating_point() else torch.int32
        part = totals[start : start + values.shape[1]]
        part.add_(values.detach().sum(dim=0, dtype=exact))
    if not in_place:
        variable.assign(totals)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    one = torch.ones((), dtype=getattr(torch, dtype), device=segments.device)
    return _scattered(one.expand(segments.numel()), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    exact = values.to(_exact(values)).flatten()
    return _halves(_scattered(exact, segments, count), values)


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    return entries.new_zeros(count).index_add_(0, segments.flatten(), entries)


def column_sums(values: Tensor) -> Any:
    return _halves(values.sum(dim=0, dtype=_exact(values)), values)


def _exact(values: Tensor) -> torch.dtype:
    if not values.is_floating_point():
        return torch.int32
    # Apple's devices have no float64.
    return torch.float32 if values.device.type == "mps" else torch.float64


def _halves(sums: Tensor, values: Tensor) -> Any:
    if not values.is_floating_point():
        return sums
    high = sums.to(torch.float32)
    return high, (sums - high).to(torch.float32)  # NaN for infinity
