"""Batch against moving statistics, as arrays and as a table."""

from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import short_names
from keras_concepts.reports.drawing.table_style import Name
from keras_concepts.reports.gradients.history import last_epoch

# From where on inference is another model: `rules` will know better.
SHIFT, VARIANCE = 1.0, float(np.log(2.0))
EMPTY = "No batch normalization has been recorded yet."
_ABOUT = (
    "Shift: of the moving mean from the batches', in standard deviations. "
    "Variance: moving over the batches'. Both over the channels. Initial: "
    "share of the first value that the moving statistics still hold."
)


class LayerShifts(NamedTuple):
    """Shifts of one layer in one epoch.

    Attributes:
        mean_shift: Signed, in standard deviations, `(channels,)`; empty if the
            layer was in inference mode.
        log_variance_ratio: Signed, `(channels,)`.
        initial_share: From 0 to 1, NaN if it was in inference mode.
    """

    mean_shift: np.ndarray
    log_variance_ratio: np.ndarray
    initial_share: float


def batch_norm_paths(recording: Recording) -> list[str]:
    """Path of each batch normalization layer, in order."""
    return [path for path in recording.select(quantity="calls").layers if path]


def layer_names(paths: list[str]) -> list[str]:
    """Short names of layers, from their paths."""
    return short_names([f"{path}/moving_mean" for path in paths])


def layer_shifts(recording: Recording, path: str) -> LayerShifts:
    """What a `BatchNormShiftMonitor` recorded of a layer in one epoch.

    Args:
        recording: Rows of one epoch.
        path: Of the layer.
    """

    def values(quantity: str) -> np.ndarray:
        series = [s for s in recording if (s[1], s[2]) == (path, quantity)]
        return series[-1].values if series else np.zeros(0)

    share = values("initial_share")
    return LayerShifts(
        values("mean_shift"),
        values("log_variance_ratio"),
        float(share[-1]) if len(share) else np.nan,
    )


def print_batch_norms(
    recording: Recording, console: Console | None = None
) -> None:
    """Prints `batch_norm_table`, or one sentence if nothing was recorded.

    Args:
        recording: What a `BatchNormShiftMonitor` recorded.
        console: Where to print, by default the standard output.
    """
    console = console or Console()
    table = batch_norm_table(recording)
    console.print(table if table.columns else EMPTY)


def batch_norm_table(recording: Recording) -> Table:
    """The last epoch: one line a batch normalization layer.

    - shift, and its largest: median and maximum over the channels of the size
      of the mean's shift, in standard deviations of the batch;
    - variance: moving over batch, the median channel;
    - initial: share of the initial value that the moving statistics hold.

    Args:
        recording: What a `BatchNormShiftMonitor` recorded.

    Returns:
        A table without columns if nothing was recorded.
    """
    epoch = last_epoch(recording)
    paths = batch_norm_paths(epoch)
    if not paths:
        return Table(title=Text(EMPTY))
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
        title=_title(epoch),
        title_justify="left",
        title_style="bold",
        caption=Text(_ABOUT),
        caption_justify="left",
    )
    table.add_column("layer", vertical="bottom")
    for header in ("channels", "shift", "largest", "variance", "initial"):
        table.add_column(
            header, justify="right", vertical="bottom", no_wrap=True
        )
    for name, path in zip(layer_names(paths), paths, strict=True):
        table.add_row(Name(name), *_cells(layer_shifts(epoch, path)))
    return table


def _title(epoch: Recording) -> Text:
    cells = {s.quantity: float(s.values[-1]) for s in epoch.select(layer="")}
    text = (
        f"Epoch {epoch.epoch[-1]} (from 0): largest shift of a layer "
        f"{cells['batch_norm_shift']:.2g}"
    )
    if "inference_gap" in cells:
        text += (
            f"; loss {cells['training_loss']:.3g} by the batch's statistics, "
            f"{cells['inference_loss']:.3g} at inference"
        )
    return Text(text)


def _cells(layer: LayerShifts) -> list[Text]:
    if not len(layer.mean_shift):
        return [Text(cell, "dim") for cell in ("", "", "", "", "frozen")]
    sizes = np.abs(layer.mean_shift)
    shift = float(np.median(sizes))
    ratio = float(np.median(layer.log_variance_ratio))
    return [
        Text(str(len(sizes))),
        Text(f"{shift:.2g}", "bold red" if shift > SHIFT else ""),
        Text(f"{sizes.max():.2g}"),
        Text(
            f"x {np.exp(ratio):.2g}",
            "bold red" if abs(ratio) > VARIANCE else "",
        ),
        Text(f"{layer.initial_share:.0%}"),
    ]
