"""Batch against moving statistics as a table in the terminal."""

from collections.abc import Mapping

import numpy as np
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import layer_names
from keras_concepts.reports.drawing.table_style import BAD, NameTable
from keras_concepts.reports.report import print_table
from keras_concepts.reports.selection import (
    by_index,
    epoch_name,
    last_epoch,
    one_value,
    rows_of,
)
from keras_concepts.thresholds import BATCH_NORM_SHIFT, BATCH_NORM_VARIANCE

MONITOR = "BatchNormShiftMonitor"
EMPTY = "No batch normalization has been recorded yet."
_CHANNELS, _LARGEST = "channels", "largest"
_SHIFT = q.BATCH_NORM_SHIFT.label
_VARIANCE = q.BATCH_NORM_VARIANCE.label
_INITIAL = q.INITIAL_SHARE.label
_ABOUT = {
    _SHIFT: "Shift: distance of the moving mean from the batches' mean in "
    "standard deviations, median of the channels.",
    _VARIANCE: "Variance: moving over the batches' variance, median of the "
    "channels.",
    _INITIAL: "Initial: share of the initial value that the moving statistics "
    "still hold.",
}


def print_batch_norms(
    recording: Recording, console: Console | None = None
) -> None:
    """Prints `batch_norm_table`, or one sentence if nothing was recorded.

    Args:
        recording: What a `BatchNormShiftMonitor` recorded.
        console: Where to print, by default the standard output.
    """
    print_table(batch_norm_table(recording), EMPTY, console)


def batch_norm_table(recording: Recording) -> Table:
    """The last epoch: one line per batch normalization layer.

    - shift, and its largest: median and maximum over the channels of the size
      of the mean's shift, in standard deviations of the batch;
    - variance: moving over batch, the median channel;
    - initial: share of the initial value that the moving statistics hold.

    Args:
        recording: What a `BatchNormShiftMonitor` recorded.

    Returns:
        A table without columns if nothing was recorded.
    """
    rows = last_epoch(rows_of(recording, MONITOR), q.CALLS)
    paths = rows.select(quantity=q.CALLS).owners
    if not paths:
        return Table(title=Text(EMPTY))
    cells = [_cells(rows, path) for path in paths]
    columns: dict[str, list[RenderableType]] = {
        header: [row.get(header, Text("")) for row in cells]
        for header in (_CHANNELS, _SHIFT, _LARGEST, _VARIANCE, _INITIAL)
    }
    return NameTable(
        _title(rows),
        layer_names(paths),
        columns,
        about=_ABOUT,
        optional=(_CHANNELS, _LARGEST),
    )


def _title(rows: Recording) -> str:
    (epoch,) = {series.epoch for series in rows}
    worst = one_value(rows, "", q.BATCH_NORM_SHIFT)
    text = f"Epoch {epoch_name(epoch)}: largest shift of a layer {worst:.2g}"
    if q.INFERENCE_GAP in rows.quantities:
        text += (
            f"; {q.TRAINING_LOSS.label} "
            f"{one_value(rows, '', q.TRAINING_LOSS):.3g}, at inference "
            f"{one_value(rows, '', q.INFERENCE_LOSS):.3g}"
        )
    return text


def _cells(rows: Recording, path: str) -> Mapping[str, Text]:
    """Cells by header; of a layer in inference mode only that it is."""
    sizes = np.abs(by_index(rows, path, q.MEAN_SHIFT))
    if not len(sizes):
        frozen = one_value(rows, path, q.FROZEN) == 1.0
        mode = q.FROZEN.label if frozen else "never called in training mode"
        return {_INITIAL: Text(mode, "dim")}
    shift = float(np.median(sizes))
    ratio = float(np.median(by_index(rows, path, q.LOG_VARIANCE_RATIO)))
    return {
        _CHANNELS: Text(str(len(sizes))),
        _SHIFT: Text(f"{shift:.2g}", BAD if shift > BATCH_NORM_SHIFT else ""),
        _LARGEST: Text(f"{sizes.max():.2g}"),
        _VARIANCE: Text(
            f"x {np.exp(ratio):.2g}",
            BAD if abs(ratio) > BATCH_NORM_VARIANCE else "",
        ),
        _INITIAL: Text(f"{one_value(rows, path, q.INITIAL_SHARE):.0%}"),
    }
