"""The gradients of an epoch as a table in the terminal."""

from collections.abc import Collection

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.cells import LogBar, Name
from keras_concepts.reports.history import (
    History,
    ends,
    gradient_history,
    last_epoch,
    median,
    median_ratio,
    over_steps,
)

_EMPTY = "No gradients have been recorded yet."
_ABOUT_BAR = (
    "Medians over the steps. Each block of the bar is a factor of 10; the "
    "largest gradient fills it."
)
_ABOUT_UPDATE = (
    " Update: RMS change by a step over RMS weight; about 1e-3 is usual."
)
_NONFINITE = "not\nfinite"
_UPDATE = "update\n/weight"
_ALL_FINITE = " Every gradient was finite."


def print_gradients(
    recording: Recording,
    console: Console | None = None,
    every_variable: bool = False,
) -> None:
    """Prints `gradient_table`, or one sentence if nothing was recorded.

    Args:
        recording: What a `GradientMonitor` recorded.
        console: Where to print, by default the standard output.
        every_variable: Show biases and normalization vectors, too.
    """
    table = gradient_table(recording, every_variable)
    console = console or Console()
    console.print(table if table.row_count else _EMPTY)


def gradient_table(recording: Recording, every_variable: bool = False) -> Table:
    """The last epoch: one line a variable, first layer first.

    The columns, of which those are left out that nothing was recorded for:

    - RMS gradient: median over the steps where it is finite; `none` if the
      variable had no gradient.
    - A bar of the same, which is a block shorter for each factor of 10 below
      the largest.
    - over last: RMS gradient divided by that of the last kernel, median over
      the steps.
    - not finite: number of steps whose gradient held a NaN or an infinity; left
      out if there was none.
    - RMS weight: median over the steps.
    - update/weight: RMS change of the weights by a step divided by RMS weight,
      median over the steps that were applied.
    - dead units: how many units of the layer had exactly zero gradient in
      every step, of how many.

    Args:
        recording: What a `GradientMonitor` recorded.
        every_variable: Show biases and normalization vectors, too.

    Returns:
        A table without lines if nothing was recorded.
    """
    epoch = last_epoch(recording)
    history = gradient_history(epoch, every_variable)
    if not history.paths:
        return Table(title=Text(_EMPTY))
    columns = _gradients(history) | _weights(epoch, history)
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
        title=_title(epoch, len(history.steps)),
        title_justify="left",
        title_style="bold",
        caption=_caption(columns),
        caption_justify="left",
    )
    table.add_column("layer", vertical="bottom")
    for header in columns:
        table.add_column(
            header, justify="right" if header else "left", no_wrap=True
        )
    for name, *cells in zip(history.names, *columns.values(), strict=True):
        table.add_row(Name(name), *cells)
    return table


def _title(epoch: Recording, steps: int) -> Text:
    text = f"Epoch {epoch.epoch[-1]} (from 0): {_count(steps, 'step')}"
    for quantity in ("loss", "gradient_norm"):
        values = epoch.select(layer="", quantity=quantity).value
        if not len(values):
            continue
        finite = values[np.isfinite(values)]
        mean = np.mean(finite) if len(finite) else np.nan
        text += f", {quantity.replace('_', ' ')} {mean:.3g}"
        if len(finite) < len(values):
            lost = _count(len(values) - len(finite), "step")
            text += f" (not finite: {lost})"
    return Text(text)


def _caption(headers: Collection[str]) -> Text:
    text = _ABOUT_BAR
    if _UPDATE in headers:
        text += _ABOUT_UPDATE
    if _NONFINITE not in headers:
        text += _ALL_FINITE
    return Text(text)


def _gradients(history: History) -> dict[str, list[RenderableType]]:
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
        columns[_NONFINITE] = [
            Text(str(count), "bold red" if count else "dim") for count in counts
        ]
    return columns


def _weights(
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
        columns[_UPDATE] = [
            _ratio(u[applied], w[applied], ".1e")
            for u, w in zip(update, weight, strict=True)
        ]
    if "dead_units" in epoch.quantities:
        columns["dead\nunits"] = [*_dead_units(epoch, paths)]
    return columns


def _gradient(middle: float, measured: np.ndarray) -> Text:
    if np.isfinite(middle):
        return Text(f"{middle:.1e}") if middle else Text("0", "yellow")
    if not len(measured):
        return Text("none", "yellow")
    return Text("nan" if np.isnan(measured).any() else "inf", "bold red")


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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
