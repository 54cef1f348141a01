"""Operations on scores and labels, each done the fastest way."""

import math

import torch

from keras_concepts._types import Tensor

CLASS_NUMBERS = "int64"


def argmax(tensor: Tensor, if_nan: int) -> Tensor:
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.shape[-1] < 400 or tensor.device.type != "cpu":
        # NaN counts as larger than any number.
        largest, numbers = torch.max(tensor, dim=-1, keepdim=True)
    else:
        largest, numbers = _largest_of_many(tensor)
    if not tensor.is_floating_point():
        return numbers
    return torch.add(numbers, torch.isnan(largest), alpha=if_nan)


def _largest_of_many(tensor: Tensor) -> tuple[Tensor, Tensor]:
    # `torch.max` is several times slower than `amax` on a CPU: find the
    # winning block first. The last block may overlap the block before, which
    # then comes first, as it should.
    classes = tensor.shape[-1]
    rows = tensor.reshape(-1, classes)
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    highest = rows[:, : whole * width].unflatten(1, (whole, width)).amax(-1)
    if whole * width < classes:
        last = rows[:, -width:].amax(-1, keepdim=True)
        highest = torch.cat([highest, last], dim=1)
    _, winner = torch.max(highest, dim=1, keepdim=True)
    start = (winner * width).clamp_(max=classes - width)
    columns = start + torch.arange(width, device=rows.device)
    largest, within = torch.max(rows.gather(1, columns), dim=1, keepdim=True)
    shape = (*tensor.shape[:-1], 1)
    return largest.reshape(shape), (start + within).reshape(shape)


def fill(tensor: Tensor, where: Tensor, number: float) -> Tensor:
    return tensor.masked_fill(where, number)


def has_nan(tensor: Tensor, or_infinity: bool = False) -> Tensor:
    tensor = tensor.detach()
    if or_infinity:
        if tensor.shape[-1] != 1:
            tensor = tensor.sum(dim=-1, keepdim=True)
        return torch.isfinite(tensor).logical_not_()
    if tensor.shape[-1] != 1:
        tensor = tensor.amax(dim=-1, keepdim=True)
    return torch.isnan(tensor)


def at_columns(tensor: Tensor, numbers: Tensor) -> Tensor:
    return tensor.gather(1, numbers.clamp(0, tensor.shape[1] - 1))
