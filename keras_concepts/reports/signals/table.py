"""The signals of an epoch as a table in the terminal."""

from collections.abc import Callable, Sequence

import numpy as np
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import layer_names
from keras_concepts.reports.drawing.table_style import (
    LogBar,
    Name,
    new_table,
    size_cell,
)
from keras_concepts.reports.signals.measurements import (
    Measurement,
    epoch_labels,
    layers_of,
    measurements,
)

EMPTY = "No signals have been recorded yet."
_ERROR = "RMS\nerror"
_MEMORY = "mem-\nory"
_GATE = "gate"
_DEAD = "dead"
_FLAT = "satu-\nrated"
_BAD = "bold red"
_ABOUT = {
    _DEAD: "Dead: units that are 0 in every sample.",
    _FLAT: "Saturated: units on a flat part of their function in most.",
    _ERROR: "Error: dL/d(output); each block of the bar is a factor of 10, and "
    "the largest fills it.",
    _MEMORY: "Memory: steps back to which more than 1 % of the error gets.",
    _GATE: "Gate: mean of the one that keeps the state.",
}


def print_signals(recording: Recording, console: Console | None = None) -> None:
    """Prints `signal_table`, or one sentence if nothing was recorded.

    Args:
        recording: What a `SignalMonitor` recorded.
        console: Where to print, by default the standard output.
    """
    table = signal_table(recording)
    console = console or Console()
    console.print(table if table.row_count else EMPTY)


def signal_table(recording: Recording) -> Table:
    """The last measurement: one line a layer, in the order of the calls.

    The columns, of which those are left out that nothing was recorded for:

    - mean and std: of all entries of the layer's activation;
    - zeros: share of entries that are exactly 0;
    - dead: units that are 0 in every sample, of how many;
    - saturated: units whose activation function is nearly flat in more than
      90 % of the samples, of how many;
    - RMS error: of dL/d(output), with a bar that is a block shorter for each
      factor of 10 below the largest;
    - over last: RMS error divided by that of the last layer;
    - memory: of a recurrent layer, how many steps more than 1 % of its largest
      error gets back to;
    - gate: mean of the gate that keeps its state.

    Args:
        recording: What a `SignalMonitor` recorded.

    Returns:
        A table without lines if nothing was recorded.
    """
    found = measurements(recording)
    if not found:
        return Table(title=Text(EMPTY))
    last = found[-1]
    columns = _columns(last)
    about = " ".join(
        text for header, text in _ABOUT.items() if header in columns
    )
    table = new_table(_title(found), Text(about))
    for header in columns:
        table.add_column(
            header, justify="right" if header else "left", no_wrap=True
        )
    names = layer_names(list(last.layers))
    for name, *cells in zip(names, *columns.values(), strict=True):
        table.add_row(Name(name), *cells)
    return table


def _title(found: Sequence[Measurement]) -> Text:
    last, label = found[-1], epoch_labels(found)[-1]
    when = (
        "Before the training" if label == "start" else f"Epoch {label} (from 0)"
    )
    loss = "" if np.isnan(last.loss) else f", loss of the probe {last.loss:.3g}"
    return Text(f"{when}: step {last.step}{loss}")


def _columns(last: Measurement) -> dict[str, list[RenderableType]]:
    """Header and cells of each column."""

    def cells(
        quantity: str, cell: Callable[[str, float], RenderableType]
    ) -> list[RenderableType]:
        return [
            cell(layer, float(quantities[quantity][0]))
            if quantity in quantities
            else Text("")
            for layer, quantities in last.layers.items()
        ]

    def units(layer: str, count: float) -> Text:
        text = f"{count:g}/{last.value(layer, 'units'):g}"
        return Text(text, "bold yellow" if count else "dim")

    errors = [last.value(layer, "error_rms") for layer in last.layers]
    # Beside the columns of recurrent layers there is room for a shorter bar.
    blocks = 6 if layers_of([last], "memory_horizon") else 9
    largest = max((e for e in errors if np.isfinite(e)), default=np.nan)
    makers = [
        ("mean", "activation_mean", _number(".2g")),
        ("std", "activation_std", _number(".2g")),
        ("zeros", "zero_share", _number(".0%")),
        (_DEAD, "dead_units", units),
        (_FLAT, "saturated_units", units),
        (_ERROR, "error_rms", lambda _, error: size_cell(error)),
        ("", "error_rms", lambda _, error: LogBar(error, largest, blocks)),
        ("over\nlast", "error_attenuation", _number(".2g")),
        (_MEMORY, "memory_horizon", _number("g")),
        (_GATE, "forget_gate_mean", _number(".2f")),
        (_GATE, "update_gate_mean", _number(".2f")),
    ]
    columns: dict[str, list[RenderableType]] = {}
    for header, quantity, cell in makers:
        if not layers_of([last], quantity):
            continue
        column = cells(quantity, cell)
        if header in columns:  # a layer has one gate or the other
            column = [
                a or b for a, b in zip(columns[header], column, strict=True)
            ]
        columns[header] = column
    return columns


def _number(form: str) -> Callable[[str, float], Text]:
    def cell(_: str, value: float) -> Text:
        return Text(format(value, form), "" if np.isfinite(value) else _BAD)

    return cell
