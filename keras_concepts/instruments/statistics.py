"""The numbers that one training step is reduced to, on the device."""

import math
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.listening import Heard

STEP_COLUMNS = ("loss", "applied")
GRADIENT_COLUMNS = ("gradient_rms", "gradient_max", "gradient_nonfinite")
WEIGHT_COLUMNS = ("weight_rms", "update_rms")
VARIABLE_COLUMNS = GRADIENT_COLUMNS + WEIGHT_COLUMNS

_NOT_MEASURED = float("nan")


def row_length(variables: list[Any]) -> int:
    """Length of the row that `measure` makes for these variables."""
    return len(STEP_COLUMNS) + len(VARIABLE_COLUMNS) * len(variables)


def measure(
    heard: Heard, variables: list[Any], unit_sources: list[int]
) -> tuple[Tensor, Tensor]:
    """Reduces a step to one row of numbers and one peak for each unit.

    Args:
        heard: What the step did.
        variables: The variables to report on, in this order. What the step
            did not touch is NaN.
        unit_sources: Indices into `variables` of those whose last axis runs
            over the units of a layer.

    Returns:
        A float32 row: `STEP_COLUMNS`, then `VARIABLE_COLUMNS` for each
        variable. And, layer after layer, the largest absolute gradient of each
        unit, of shape `(units,)`.
    """
    gradients, before, after, loss = _isolated(heard)
    scale = _float32(heard.scale)
    position = {id(v): i for i, v in enumerate(heard.variables)}

    row = [
        _float32(_NOT_MEASURED if loss is None else loss),
        _float32(heard.applied),
    ]
    peaks: list[Tensor] = []
    for variable in variables:
        i = position.get(id(variable))
        gradient = None if i is None else gradients[i]
        size = math.prod(variable.shape)
        if gradient is None:
            row += [_float32(_NOT_MEASURED)] * len(GRADIENT_COLUMNS)
            peaks.append(ops.full(variable.shape[-1:], _NOT_MEASURED))
        else:
            norm = _norm(gradient)
            peak = _column_peaks(gradient)
            row += [
                norm / math.sqrt(size) / scale,
                ops.max(peak) / scale,
                _nonfinite_entries(gradient, norm),
            ]
            peaks.append(peak)
        if i is None:
            row += [_float32(_NOT_MEASURED)] * len(WEIGHT_COLUMNS)
        else:
            row.append(_norm(before[i]) / math.sqrt(size))
            row.append(_norm(after[i] - before[i]) / math.sqrt(size))

    unit_peaks = [peaks[i] for i in unit_sources] or [ops.zeros((0,))]
    return ops.stack(row), ops.concatenate(unit_peaks)


def _isolated(heard: Heard) -> tuple[list[Any], list[Any], list[Any], Any]:
    """Float32 copies to measure, walled off from the training step."""
    gradients = [
        None if _is_value(gradient, variable) else _backend.dense_rows(gradient)
        for gradient, variable in zip(
            heard.gradients, heard.variables, strict=True
        )
    ]
    present = [gradient for gradient in gradients if gradient is not None]
    losses = [] if heard.loss is None else [ops.stop_gradient(heard.loss)]
    tensors = iter(
        _backend.isolate([*present, *heard.before, *heard.after, *losses])
    )
    return (
        [None if g is None else _float32(next(tensors)) for g in gradients],
        [_float32(next(tensors)) for _ in heard.before],
        [_float32(next(tensors)) for _ in heard.after],
        next(tensors) if losses else None,
    )


def _is_value(gradient: Any, variable: Any) -> bool:
    """No gradient, or one that is the variable's next value (float8 scales)."""
    return gradient is None or getattr(
        variable, "overwrite_with_gradient", False
    )


def _norm(x: Tensor) -> Tensor:
    """L2 norm, right also where squares leave the range of float32.

    Gradients of 1e-25, as deep sigmoid stacks have, square to zero.
    """
    total = _backend.sum_of_squares(x)
    in_range = ops.logical_and(total > 1e-30, total < 1e30)
    return _backend.choose(
        in_range, lambda: ops.sqrt(total), lambda: _scaled_norm(x)
    )


def _scaled_norm(x: Tensor) -> Tensor:
    peak = ops.max(ops.abs(x))
    usable = ops.logical_and(ops.isfinite(peak), peak > 0.0)
    unit = ops.where(usable, peak, ops.ones_like(peak))
    return unit * ops.sqrt(ops.sum(ops.square(x / unit)))


def _column_peaks(x: Tensor) -> Tensor:
    """Largest absolute value for each index of the last axis."""
    last = x.shape[-1] if len(x.shape) else 1
    return ops.max(ops.abs(ops.reshape(x, (-1, last))), axis=0)


def _nonfinite_entries(x: Tensor, norm: Tensor) -> Tensor:
    # A finite norm has no other terms, so that the count is free as a rule.
    return _backend.choose(
        ops.isfinite(norm),
        lambda: ops.zeros_like(norm),
        lambda: _float32(ops.sum(ops.cast(~ops.isfinite(x), "int32"))),
    )


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")
