"""The gradients of an epoch as a table in the terminal."""

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import MAX_ROWS, worst_first
from keras_concepts.reports.drawing.table_style import NameTable
from keras_concepts.reports.gradients.columns import (
    BAR,
    GRADIENT,
    OVER_LAST,
    UPDATE,
    WEIGHT,
    badness,
    gradient_columns,
    weight_columns,
)
from keras_concepts.reports.gradients.history import (
    History,
    gradient_history,
)
from keras_concepts.reports.report import print_table
from keras_concepts.reports.selection import epoch_name, last_epoch, rows_of
from keras_concepts.thresholds import USUAL_UPDATE_RATIO

EMPTY = "No gradients have been recorded yet."
MONITOR = "GradientMonitor"


def print_gradients(
    recording: Recording,
    console: Console | None = None,
    every_variable: bool = False,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `gradient_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `GradientMonitor`.
        console: Where to print, by default standard output.
        every_variable: Show biases and normalization vectors, too.
        max_rows: See `gradient_table`.
    """
    table = gradient_table(recording, every_variable, max_rows=max_rows)
    print_table(table, EMPTY, console)


def gradient_table(
    recording: Recording,
    every_variable: bool = False,
    *,
    max_rows: int | None = MAX_ROWS,
) -> Table:
    """The last epoch of the last run: one line per variable, in order.

    For a big model only those whose gradients differ most from the median are
    shown, the worst first: not finite, zero, with dead units, far larger or
    smaller.

    The columns (those without recorded values are left out):

    - RMS gradient: median over the steps where it is finite; `none` if the
      variable had no gradient.
    - A bar of the same, one block shorter for each factor of 10 below the
      largest.
    - over last: RMS gradient divided by that of the last layer's weights,
      median over the steps.
    - not finite: number of steps whose gradient held a NaN or an infinity; left
      out if there was none.
    - RMS weight: median over the steps.
    - update/weight: RMS weight change per step divided by RMS weight, median
      over the steps that were applied.
    - dead units: number of units of the layer with exactly zero gradient in
      every step, and number of all units.

    Args:
        recording: Recording of a `GradientMonitor`.
        every_variable: Show biases and normalization vectors, too.
        max_rows: Maximum number of rows; `None` for all.

    Returns:
        A table without columns if nothing was recorded.
    """
    rows = last_epoch(rows_of(recording, MONITOR), q.GRADIENT_RMS)
    history = gradient_history(rows, every_variable)
    if not history.paths:
        return Table(title=Text(EMPTY))
    columns = gradient_columns(history) | weight_columns(rows, history)
    return NameTable(
        _title(rows, history),
        history.names,
        columns,
        about=_about(history),
        optional=(BAR, WEIGHT, OVER_LAST),
        rows=worst_first(history.names, badness(rows, history), max_rows),
    )


def _title(rows: Recording, history: History) -> str:
    steps = len(history.steps)
    text = f"Epoch {epoch_name(history.epochs[-1])}: {_count(steps, 'step')}"
    for quantity, name in (
        (q.BATCH_LOSS, "loss"),
        (q.GRADIENT_NORM, q.GRADIENT_NORM.label),
    ):
        values = rows.select(owner="", quantity=quantity).value
        if not len(values):
            continue
        finite = values[np.isfinite(values)]
        mean = np.mean(finite) if len(finite) else np.nan
        text += f", {name} {mean:.3g}"
        if len(finite) < len(values):
            lost = _count(len(values) - len(finite), "step")
            text += f" (not finite: {lost})"
    return text


def _about(history: History) -> dict[str, str]:
    finite = "" if history.nonfinite.any() else " Every gradient was finite."
    return {
        GRADIENT: f"Medians over the steps.{finite}",
        BAR: "Each block of the bar is a factor of 10; the largest gradient "
        "fills it.",
        UPDATE: "Update: RMS change per step over RMS weight; about "
        f"{USUAL_UPDATE_RATIO:g} is usual.",
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
