"""The numbers that one training step is reduced to, on the device."""

import math
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.step.capture_updates import Heard

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
    gradients, before, after, loss = isolated(heard)
    position = {id(v): i for i, v in enumerate(heard.variables)}
    places = [position.get(id(variable)) for variable in variables]
    sizes = [math.prod(variable.shape) for variable in heard.variables]

    given = [i for i, g in enumerate(gradients) if g is not None]
    rank = {i: k for k, i in enumerate(given)}
    norms, peaks, nonfinite = _of_gradients([gradients[i] for i in given])
    scale = _float32(heard.scale)
    of_gradients = [
        norms / _roots([sizes[i] for i in given]) / scale,
        peaks / scale,
        nonfinite,
    ]
    updates = [b - a for a, b in zip(before, after, strict=True)]
    of_weights = [
        l2_norms(before) / _roots(sizes),
        l2_norms(updates) / _roots(sizes),
    ]
    table = [
        *(
            _placed(c, [None if i is None else rank.get(i) for i in places])
            for c in of_gradients
        ),
        *(_placed(c, places) for c in of_weights),
    ]
    step = [
        _float32(_NOT_MEASURED if loss is None else loss),
        _float32(heard.applied),
    ]
    row = ops.concatenate(
        [ops.stack(step), ops.reshape(ops.stack(table, axis=1), (-1,))]
    )
    unit_peaks = []
    for source in unit_sources:
        i = places[source]
        if i is not None and i in rank:
            unit_peaks.append(_column_peaks(gradients[i]))
        else:
            units = variables[source].shape[-1:]
            unit_peaks.append(ops.full(units, _NOT_MEASURED))
    return row, ops.concatenate(unit_peaks or [ops.zeros((0,))])


def isolated(heard: Heard) -> tuple[list[Any], list[Any], list[Any], Any]:
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


def _of_gradients(gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Norm, largest absolute entry and number of non-finite entries of each."""
    if not gradients:
        return ops.zeros((0,)), ops.zeros((0,)), ops.zeros((0,))
    peaks = _backend.peaks(gradients)
    norms = l2_norms(gradients, known_zero=peaks == 0.0)
    # A finite norm has no other terms, so that the count is free as a rule.
    nonfinite = _backend.choose(
        ops.all(ops.isfinite(norms)),
        lambda: ops.zeros_like(norms),
        lambda: ops.stack([nonfinite_entries(g) for g in gradients]),
    )
    return norms, peaks, nonfinite


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
    return _float32(ops.sum(ops.cast(~ops.isfinite(x), "int32")))


def _column_peaks(x: Tensor) -> Tensor:
    """Largest absolute value for each index of the last axis."""
    last = x.shape[-1] if len(x.shape) else 1
    return ops.max(ops.abs(ops.reshape(x, (-1, last))), axis=0)


def _placed(column: Tensor, places: list[int | None]) -> Tensor:
    """`column[place]` for each place, and NaN where there is none."""
    missing = column.shape[0]
    padded = ops.concatenate([column, ops.full((1,), _NOT_MEASURED)])
    return ops.take(padded, [missing if p is None else p for p in places])


def _roots(sizes: list[int]) -> Tensor:
    return _float32([math.sqrt(size) for size in sizes])


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")
