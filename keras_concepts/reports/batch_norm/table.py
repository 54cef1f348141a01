"""Batch and moving statistics as a table in the terminal."""

from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts import derived
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import MAX_ROWS, worst_first
from keras_concepts.reports.drawing.names import layer_names, shorten
from keras_concepts.reports.drawing.table_style import BAD, NameTable
from keras_concepts.reports.report import print_table
from keras_concepts.reports.selection import (
    by_index,
    epoch_name,
    last_epoch,
    last_values,
    one_value,
    rows_of,
)
from keras_concepts.thresholds import BATCH_NORM_SHIFT, BATCH_NORM_VARIANCE

MONITOR = "BatchNormShiftMonitor"
EMPTY = "No batch normalization has been recorded yet."
_LONGEST_NAME = 48  # in a title
_CHANNELS, _LARGEST = "channels", "largest"
_SHIFT = q.BATCH_NORM_SHIFT.label
_VARIANCE = q.BATCH_NORM_VARIANCE.label
_INITIAL = q.INITIAL_SHARE.label
_OFF = "off"
_ABOUT = {
    _OFF: "Off: the larger of the shift and the number of times the "
    "variance is doubled or halved; above 1, inference differs from "
    "training.",
    _SHIFT: "Shift: distance of the moving mean from the batches' mean in "
    "standard deviations, median of the channels.",
    _VARIANCE: "Variance: moving variance over the batches', in the channel "
    "with the median deviation.",
    _INITIAL: "Initial: share of the initial value that the moving statistics "
    "still hold.",
}


def print_batch_norms(
    recording: Recording,
    console: Console | None = None,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `batch_norm_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `BatchNormShiftMonitor`.
        console: Where to print, by default standard output.
        max_rows: See `batch_norm_table`.
    """
    print_table(batch_norm_table(recording, max_rows=max_rows), EMPTY, console)


def batch_norm_table(
    recording: Recording, *, max_rows: int | None = MAX_ROWS
) -> Table:
    """The last epoch: one line per batch normalization layer.

    For a big model only those furthest off are shown, the worst first.

    - off: the larger of the shift and the variance in factors of 2;
    - shift, and its largest: median and maximum over the channels of the size
      of the mean's shift, in standard deviations of the batch;
    - variance: moving over batch, for the channel with the median deviation;
    - initial: share of the initial value that the moving statistics hold.

    Args:
        recording: Recording of a `BatchNormShiftMonitor`.
        max_rows: Maximum number of rows; `None` for all.

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
        for header in (_CHANNELS, _OFF, _SHIFT, _LARGEST, _VARIANCE, _INITIAL)
    }
    names = layer_names(paths)
    return NameTable(
        _title(rows, paths),
        names,
        columns,
        about=_ABOUT,
        optional=(_CHANNELS, _LARGEST, _INITIAL),
        rows=worst_first(names, how_far_off(rows, paths)[0], max_rows),
    )


def _title(rows: Recording, paths: Sequence[str]) -> str:
    (epoch,) = {series.epoch for series in rows}
    text = f"Epoch {epoch_name(epoch)}: {worst_of(rows, paths)}"
    if q.INFERENCE_GAP in rows.quantities:
        text += (
            f"; {q.TRAINING_LOSS.label} "
            f"{one_value(rows, '', q.TRAINING_LOSS):.3g}, at inference "
            f"{one_value(rows, '', q.INFERENCE_LOSS):.3g}"
        )
    return text + _shares(rows, paths)


def _shares(rows: Recording, paths: Sequence[str]) -> str:
    """A note if replicas normalize by their shares of a batch."""
    facts_of = {run.number: run.facts for run in rows.runs}
    for series in rows:
        facts = facts_of.get(series.run, {})
        if set(paths) & set(facts.get("shares") or ()):
            return (
                "; for layers that are not synchronized, means over the shares "
                f"of {facts['replicas']} replicas"
            )
    return ""


def how_far_off(
    rows: Recording, paths: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each layer in an epoch: the worse of both, shift and variance."""
    shifts, logs = (
        np.array([found.get(path, np.nan) for path in paths])
        for found in (
            last_values(rows, q.BATCH_NORM_SHIFT),
            last_values(rows, q.BATCH_NORM_VARIANCE),
        )
    )
    off = [
        derived.moving_statistics_off(*both)
        for both in zip(shifts, logs, strict=True)
    ]
    return np.array(off), shifts, logs


def worst_of(rows: Recording, paths: Sequence[str]) -> str:
    """The layer that is furthest off in an epoch, and in what.

    Args:
        rows: Rows of one epoch.
        paths: All layers.
    """
    off, shifts, logs = how_far_off(rows, paths)
    if np.isnan(off).all():
        return "all layers are in inference mode"
    place = int(np.nanargmax(off))
    name = shorten(layer_names(paths), _LONGEST_NAME)[place]
    if off[place] == abs(shifts[place]):
        what = f"moving mean {shifts[place]:.2g} σ off"
    else:
        factor = _factor(np.exp(logs[place]))
        what = f"moving variance off by a factor of {factor}"
    return f"worst is {name}: {what}"


def _factor(value: float) -> str:
    return f"{value:,.0f}" if 100.0 <= value < 1e6 else f"{value:.2g}"


def _cells(rows: Recording, path: str) -> Mapping[str, Text]:
    """Cells by header; for a layer in inference mode only its mode."""
    sizes = np.abs(by_index(rows, path, q.MEAN_SHIFT))
    if not len(sizes):
        frozen = one_value(rows, path, q.FROZEN) == 1.0
        mode = q.FROZEN.label if frozen else "never called in training mode"
        return {_INITIAL: Text(mode, "dim")}
    shift = float(np.median(sizes))
    ratios = by_index(rows, path, q.LOG_VARIANCE_RATIO)
    # The median size, with the sign of the channel that has it.
    middle = ratios[np.argsort(np.abs(ratios))[len(ratios) // 2]]
    ratio = float(np.copysign(np.median(np.abs(ratios)), middle))
    off = derived.moving_statistics_off(shift, ratio)
    return {
        _CHANNELS: Text(str(len(sizes))),
        _OFF: Text(f"{off:.2g}", BAD if off > 1.0 else ""),
        _SHIFT: Text(f"{shift:.2g}", BAD if shift > BATCH_NORM_SHIFT else ""),
        _LARGEST: Text(f"{sizes.max():.2g}"),
        _VARIANCE: Text(
            f"x {_factor(np.exp(ratio))}",
            BAD if abs(ratio) > BATCH_NORM_VARIANCE else "",
        ),
        _INITIAL: Text(f"{one_value(rows, path, q.INITIAL_SHARE):.0%}"),
    }
