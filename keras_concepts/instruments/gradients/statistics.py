"""The numbers that one training step is reduced to, on the device."""

import functools
import math
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._types import Tensor
from keras_concepts.instruments.gradients.units import (
    UnitSource,
    unit_count,
)
from keras_concepts.instruments.norms import nonfinite_entries
from keras_concepts.instruments.step.step_record import (
    StepRecord,
    in_float32,
)

BATCH_SIZE = "batch_size"
STEP_COLUMNS = (q.BATCH_LOSS, q.APPLIED, BATCH_SIZE)
GRADIENT_COLUMNS = (q.GRADIENT_RMS, q.GRADIENT_MAX, q.GRADIENT_NONFINITE)
WEIGHT_COLUMNS = (q.WEIGHT_RMS, q.UPDATE_RMS)
VARIABLE_COLUMNS = GRADIENT_COLUMNS + WEIGHT_COLUMNS

_NOT_MEASURED = float("nan")
_UPDATE_SCALE = 2.0**32


def row_length(variables: list[Any]) -> int:
    """Length of the row that `measure` makes for these variables."""
    return len(STEP_COLUMNS) + len(VARIABLE_COLUMNS) * len(variables)


def measure(
    step: StepRecord,
    variables: list[Any],
    unit_sources: list[list[UnitSource]],
) -> tuple[Tensor, Tensor]:
    """Reduces a step to one row of numbers and one peak for each unit.

    Args:
        step: The step.
        variables: The variables to report on, in this order. Variables that the
            step did not touch are NaN.
        unit_sources: For each layer, the variables that show the gradient of
            its units.

    Returns:
        A float32 row: `STEP_COLUMNS`, then `VARIABLE_COLUMNS` for each
        variable. And, layer by layer, the largest absolute gradient of each
        unit, `(units,)`.
    """
    update = step.update
    isolated = step.isolated
    gradients, loss = isolated.gradients, isolated.loss
    position = {id(v): i for i, v in enumerate(update.variables)}
    places = [position.get(id(variable)) for variable in variables]
    sizes = [math.prod(variable.shape) for variable in update.variables]

    given = [i for i, g in enumerate(gradients) if g is not None]
    rank = {i: k for k, i in enumerate(given)}
    norms, peaks, nonfinite = _of_gradients([gradients[i] for i in given])
    scale = in_float32([update.scales[i] for i in given] or [1.0])
    of_gradients = [
        norms / _roots([sizes[i] for i in given]) / scale,
        peaks / scale,
        nonfinite,
    ]
    # Exact, and keeps squares of small updates in the range of float32.
    updates = [
        (new - old) * _UPDATE_SCALE
        for old, new in zip(isolated.before, isolated.after, strict=True)
    ]
    weights = ops.sqrt(_backend.sums_of_squares(isolated.before))
    changes = ops.sqrt(_backend.sums_of_squares(updates)) / _UPDATE_SCALE
    of_weights = [weights / _roots(sizes), changes / _roots(sizes)]
    table = [
        *(
            _placed(c, [None if i is None else rank.get(i) for i in places])
            for c in of_gradients
        ),
        *(_placed(c, places) for c in of_weights),
    ]
    of_step = [
        _float32(_NOT_MEASURED if loss is None else loss),
        _float32(update.applied),
        _float32(step.batch_size),
    ]
    row = ops.concatenate(
        [ops.stack(of_step), ops.reshape(ops.stack(table, axis=1), (-1,))]
    )
    unit_peaks = []
    for sources in unit_sources:
        found = []
        for source in sources:
            i = places[source.variable]
            if i is not None and i in rank:
                found.append(_unit_peaks(gradients[i], source.axes))
        if not found:
            units = unit_count(sources[0], variables)
            found = [ops.full((units,), _NOT_MEASURED, "float32")]
        unit_peaks.append(functools.reduce(ops.maximum, found))
    return row, ops.concatenate(unit_peaks or [ops.zeros((0,), "float32")])


def _of_gradients(gradients: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Norm, largest absolute entry and number of non-finite entries of each."""
    if not gradients:
        return (
            ops.zeros((0,), "float32"),
            ops.zeros((0,), "float32"),
            ops.zeros((0,), "float32"),
        )
    norms, peaks = _backend.norms_and_peaks(gradients)
    # A finite norm has only finite terms, so the count usually costs nothing.
    nonfinite = _backend.choose(
        ops.all(ops.isfinite(norms)),
        lambda: ops.zeros_like(norms),
        lambda: ops.stack([nonfinite_entries(g) for g in gradients]),
    )
    return norms, peaks, nonfinite


def _unit_peaks(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Largest absolute value for each index of these axes, flat."""
    others = [i for i in range(len(x.shape)) if i - len(x.shape) not in axes]
    sizes = ops.abs(x)
    return ops.reshape(ops.max(sizes, axis=others) if others else sizes, (-1,))


def _placed(column: Tensor, places: list[int | None]) -> Tensor:
    """`column[place]` for each place, and NaN where there is none."""
    missing = column.shape[0]
    padded = ops.concatenate([column, ops.full((1,), _NOT_MEASURED, "float32")])
    return ops.take(padded, [missing if p is None else p for p in places])


def _roots(sizes: list[int]) -> Tensor:
    return _float32([math.sqrt(size) for size in sizes])


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")
