"""The columns of the table of gradients: header and cells of each."""

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.table_style import LogBar, size_cell
from keras_concepts.reports.gradients.history import (
    History,
    ends,
    median,
    median_ratio,
    over_steps,
)

NONFINITE = "not\nfinite"
UPDATE = "update\n/weight"


def gradient_columns(history: History) -> dict[str, list[RenderableType]]:
    """Header and cells of the columns about gradients."""
    rms, present = history.values, ~history.missing
    medians = [median(values) for values in rms]
    largest = max((m for m in medians if np.isfinite(m)), default=np.nan)
    last = rms[ends(history.paths)[1]]
    columns: dict[str, list[RenderableType]] = {
        "RMS\ngradient": [
            _gradient(middle, row[measured])
            for middle, row, measured in zip(medians, rms, present, strict=True)
        ],
        "": [LogBar(middle, largest) for middle in medians],
        "over\nlast": [
            _ratio(row[measured], last[measured], ".2g")
            for row, measured in zip(rms, present, strict=True)
        ],
    }
    if history.nonfinite.any():
        counts = [int(row.sum()) for row in history.nonfinite]
        columns[NONFINITE] = [
            Text(str(count), "bold red" if count else "dim") for count in counts
        ]
    return columns


def weight_columns(
    epoch: Recording, history: History
) -> dict[str, list[RenderableType]]:
    """Header and cells of the columns about weights and units."""
    paths, steps = history.paths, history.steps
    applied = over_steps(epoch, "applied", [""], steps, absent=1.0)[0] > 0.0
    weight = over_steps(epoch, "weight_rms", paths, steps)
    update = over_steps(epoch, "update_rms", paths, steps)
    columns: dict[str, list[RenderableType]] = {}
    if "weight_rms" in epoch.quantities:
        columns["RMS\nweight"] = [Text(f"{median(w):.3g}") for w in weight]
    if {"weight_rms", "update_rms"} <= set(epoch.quantities):
        columns[UPDATE] = [
            _ratio(u[applied], w[applied], ".1e")
            for u, w in zip(update, weight, strict=True)
        ]
    if "dead_units" in epoch.quantities:
        columns["dead\nunits"] = [*_dead_units(epoch, paths)]
    return columns


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
    value = median_ratio(numerator, denominator)
    return Text(format(value, form) if value else "0")


def _dead_units(epoch: Recording, paths: list[str]) -> list[Text]:
    """`dead/units` beside the first variable of each layer."""
    units = _last_values(epoch, "units")
    dead = _last_values(epoch, "dead_units")
    cells = []
    for path in paths:
        layer = path.rpartition("/")[0]
        if layer in units and layer in dead:
            text = f"{dead[layer]:g}/{units.pop(layer):g}"
            cells.append(Text(text, "bold yellow" if dead[layer] else "dim"))
        else:
            cells.append(Text(""))
    return cells


def _last_values(epoch: Recording, quantity: str) -> dict[str, float]:
    rows = epoch.select(quantity=quantity)
    return {s.layer: float(s.values[-1]) for s in rows if len(s.values)}
