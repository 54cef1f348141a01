"""The signals of an epoch as a table in the terminal."""

from collections.abc import Callable

import numpy as np
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import (
    MAX_ROWS,
    distance_from_the_others,
    worst_first,
)
from keras_concepts.reports.drawing.names import layer_names
from keras_concepts.reports.drawing.table_style import (
    BAD,
    LogBar,
    NameTable,
    count_cell,
    size_cell,
    stacked,
)
from keras_concepts.reports.report import print_table
from keras_concepts.reports.signals.measurements import (
    Measurement,
    layers_of,
    measurements,
)

EMPTY = "No signals have been recorded yet."
_MEAN, _STD = q.ACTIVATION_MEAN.label, q.ACTIVATION_STD.label
_ZEROS = q.ZERO_SHARE.label
_DEAD = q.ZERO_ACTIVATION_UNITS.label
_SATURATED = "satu-\nrated"
_ERROR = stacked(q.ERROR_RMS.label)
_BAR = ""
_OVER_LAST = stacked(q.ERROR_ATTENUATION.label)
_MEMORY = "mem-\nory"
_GATE = q.FORGET_GATE_MEAN.label
_ABOUT = {
    _DEAD: "Dead: units that are 0 in every sample.",
    _SATURATED: "Saturated: units on a flat part of their function in most "
    "samples.",
    _ERROR: "Error: dL/d(output).",
    _BAR: "Each block of the bar is a factor of 10; the largest error fills "
    "it.",
    _MEMORY: "Memory: steps back that more than 1 % of the error reaches.",
    _GATE: "Gate: mean of the gate that keeps the state.",
}
_NO_LAST_ERROR = (
    "Over last: undefined, since the error of the last layer is exactly 0."
)


def print_signals(
    recording: Recording,
    console: Console | None = None,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `signal_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `SignalMonitor`.
        console: Where to print, by default standard output.
        max_rows: See `signal_table`.
    """
    print_table(signal_table(recording, max_rows=max_rows), EMPTY, console)


def signal_table(
    recording: Recording, *, max_rows: int | None = MAX_ROWS
) -> Table:
    """The last measurement: one line per layer, in the order of the calls.

    For a big model only those whose errors differ most from the median are
    shown, the worst first: not finite, zero, with dead or saturated units, far
    larger or smaller.

    The columns (those without recorded values are left out):

    - mean and std: of all entries of the layer's activation;
    - zeros: share of entries that are exactly 0;
    - dead: units that are 0 in every sample, and all units;
    - saturated: units whose activation function is nearly flat in more than 90
      % of the samples, and all units;
    - RMS error: of dL/d(output), with a bar that is a block shorter for each
      factor of 10 below the largest;
    - over last: RMS error divided by that of the last layer; `-` if that is 0;
    - memory: for a recurrent layer, how many steps back more than 1 % of its
      largest error reaches;
    - gate: mean of the gate that keeps its state.

    Args:
        recording: Recording of a `SignalMonitor`.
        max_rows: Maximum number of rows; `None` for all.

    Returns:
        A table without columns if nothing was recorded.
    """
    found = measurements(recording)
    if not found:
        return Table(title=Text(EMPTY))
    last = found[-1]
    about = _ABOUT
    if (last.all_values(q.ERROR_RMS)[-1:] == 0.0).any():
        about = {**_ABOUT, _OVER_LAST: _NO_LAST_ERROR}
    names = layer_names(list(last.layers))
    return NameTable(
        _title(last),
        names,
        _columns(last),
        about=about,
        optional=(_BAR, _STD, _MEAN, _ZEROS),
        rows=worst_first(names, _badness(last), max_rows),
    )


def _badness(last: Measurement) -> np.ndarray:
    def of(quantity: str) -> np.ndarray:
        return np.array([last.value(layer, quantity) for layer in last.layers])

    flow = q.ERROR_RMS if layers_of([last], q.ERROR_RMS) else q.ACTIVATION_RMS
    sizes, units = of(flow), of(q.UNITS)
    bad = distance_from_the_others(
        sizes,
        of(q.ZERO_ACTIVATION_UNITS) / units,
        of(q.SATURATED_UNITS) / units,
    )
    finite = np.isfinite(sizes) & np.isfinite(of(q.ACTIVATION_RMS))
    return bad + 1e6 * ~finite


def _title(last: Measurement) -> str:
    when = "Before training" if last.epoch < 0 else f"Epoch {last.when}"
    loss = "" if np.isnan(last.loss) else f", loss of the probe {last.loss:.3g}"
    return f"{when}: step {last.step}{loss}"


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
        return count_cell(count, last.value(layer, q.UNITS))

    errors = last.all_values(q.ERROR_RMS)
    # Besides the columns of recurrent layers only a shorter bar fits.
    blocks = 6 if layers_of([last], q.MEMORY_HORIZON) else 9
    largest = max((e for e in errors if np.isfinite(e)), default=np.nan)
    makers = [
        (_MEAN, q.ACTIVATION_MEAN, _number(".2g")),
        (_STD, q.ACTIVATION_STD, _number(".2g")),
        (_ZEROS, q.ZERO_SHARE, _number(".0%")),
        (_DEAD, q.ZERO_ACTIVATION_UNITS, units),
        (_SATURATED, q.SATURATED_UNITS, units),
        (_ERROR, q.ERROR_RMS, lambda _, error: size_cell(error)),
        (_BAR, q.ERROR_RMS, lambda _, error: LogBar(error, largest, blocks)),
        (_OVER_LAST, q.ERROR_ATTENUATION, _over_last(errors)),
        (_MEMORY, q.MEMORY_HORIZON, _number("g")),
        (_GATE, q.FORGET_GATE_MEAN, _number(".2f")),
        (_GATE, q.UPDATE_GATE_MEAN, _number(".2f")),
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
        return Text(format(value, form), "" if np.isfinite(value) else BAD)

    return cell


def _over_last(errors: np.ndarray) -> Callable[[str, float], Text]:
    if len(errors) and errors[-1] == 0.0:
        return lambda _, value: Text("-")
    return _number(".2g")
