"""The gradients of an epoch as a table in the terminal."""

from collections.abc import Collection

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.table_style import Name, new_table
from keras_concepts.reports.gradients.columns import (
    NONFINITE,
    UPDATE,
    gradient_columns,
    weight_columns,
)
from keras_concepts.reports.gradients.history import (
    gradient_history,
    last_epoch,
)

_EMPTY = "No gradients have been recorded yet."
_ABOUT_BAR = (
    "Medians over the steps. Each block of the bar is a factor of 10; the "
    "largest gradient fills it."
)
_ABOUT_UPDATE = (
    " Update: RMS change by a step over RMS weight; about 1e-3 is usual."
)
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
    columns = gradient_columns(history) | weight_columns(epoch, history)
    table = new_table(_title(epoch, len(history.steps)), _caption(columns))
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
    if UPDATE in headers:
        text += _ABOUT_UPDATE
    if NONFINITE not in headers:
        text += _ALL_FINITE
    return Text(text)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
