"""The columns of the table of gradients: header and cells of each."""

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from keras_concepts import derived
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import distance_from_the_others
from keras_concepts.reports.drawing.table_style import (
    BAD,
    LogBar,
    count_cell,
    size_cell,
    stacked,
)
from keras_concepts.reports.gradients.history import History
from keras_concepts.reports.selection import last_values, over_steps

GRADIENT = stacked(q.GRADIENT_RMS.label)
BAR = ""
OVER_LAST = stacked("over last")
_NONFINITE = stacked(q.GRADIENT_NONFINITE.label)
WEIGHT = stacked(q.WEIGHT_RMS.label)
UPDATE = "update\n/weight"
_DEAD = stacked(q.ZERO_GRADIENT_UNITS.label)


def gradient_columns(history: History) -> dict[str, list[RenderableType]]:
    """Header and cells of the columns about gradients."""
    rms, present = history.values, ~history.missing
    medians = [derived.median(values) for values in rms]
    largest = max((m for m in medians if np.isfinite(m)), default=np.nan)
    last = history.joint(history.ends[1])
    columns: dict[str, list[RenderableType]] = {
        GRADIENT: [
            _gradient(middle, row[measured])
            for middle, row, measured in zip(medians, rms, present, strict=True)
        ],
        BAR: [LogBar(middle, largest) for middle in medians],
        OVER_LAST: [
            _ratio(row[measured], last[measured], ".2g")
            for row, measured in zip(rms, present, strict=True)
        ],
    }
    if history.nonfinite.any():
        counts = [int(row.sum()) for row in history.nonfinite]
        columns[_NONFINITE] = [
            Text(str(count), BAD if count else "dim") for count in counts
        ]
    return columns


def weight_columns(
    epoch: Recording, history: History
) -> dict[str, list[RenderableType]]:
    """Header and cells of the columns about weights and units."""
    paths, at = history.paths, (history.runs, history.steps)
    applied = over_steps(epoch, q.APPLIED, [""], *at, absent=1.0)[0] > 0.0
    weight = over_steps(epoch, q.WEIGHT_RMS, paths, *at)
    update = over_steps(epoch, q.UPDATE_RMS, paths, *at)
    columns: dict[str, list[RenderableType]] = {}
    if q.WEIGHT_RMS in epoch.quantities:
        columns[WEIGHT] = [Text(f"{derived.median(w):.3g}") for w in weight]
    if {q.WEIGHT_RMS, q.UPDATE_RMS} <= set(epoch.quantities):
        columns[UPDATE] = [
            _ratio(u[applied], w[applied], ".1e")
            for u, w in zip(update, weight, strict=True)
        ]
    if q.ZERO_GRADIENT_UNITS in epoch.quantities:
        columns[_DEAD] = [*_dead_units(epoch, history.layers)]
    return columns


def badness(epoch: Recording, history: History) -> np.ndarray:
    """How bad each row is; the largest is the worst."""
    medians = np.array([derived.median(values) for values in history.values])
    counts, units = _dead_and_units(epoch)
    dead = [
        counts.get(layer, np.nan) / units.get(layer, np.nan)
        for layer in history.layers
    ]
    return distance_from_the_others(medians, dead) + 1e6 * (
        history.nonfinite.any(axis=1)
    )


def _gradient(middle: float, measured: np.ndarray) -> Text:
    if np.isfinite(middle):
        return size_cell(middle)
    if not len(measured):
        return Text("none", "yellow")
    return size_cell(np.nan if np.isnan(measured).any() else np.inf)


def _ratio(numerator: np.ndarray, denominator: np.ndarray, form: str) -> Text:
    """The median quotient, `-` if the denominator was always zero."""
    if (denominator == 0.0).all():
        return Text("-")
    value = derived.median_ratio(numerator, denominator)
    return Text(format(value, form) if value else "0")


def _dead_units(epoch: Recording, layers: list[str]) -> list[Text]:
    """`dead/units` beside the first variable of each layer."""
    cells, seen = [], set()
    dead, units = _dead_and_units(epoch)
    for layer in layers:
        if layer in seen or layer not in dead:
            cells.append(Text(""))
            continue
        seen.add(layer)
        cells.append(count_cell(dead[layer], units[layer]))
    return cells


def _dead_and_units(
    epoch: Recording,
) -> tuple[dict[str, float], dict[str, float]]:
    return (
        last_values(epoch, q.ZERO_GRADIENT_UNITS),
        last_values(epoch, q.UNITS),
    )
