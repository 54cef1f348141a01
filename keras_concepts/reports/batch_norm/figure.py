"""A figure of how far the moving statistics are off."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts import derived
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.batch_norm.table import EMPTY, MONITOR, worst_of
from keras_concepts.reports.drawing.epoch_axis import label_epochs
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.names import (
    figure_names,
    layer_names,
    literal,
)
from keras_concepts.reports.selection import epochs_of, over_epochs, rows_of
from keras_concepts.thresholds import BATCH_NORM_SHIFT, BATCH_NORM_VARIANCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODES = {q.TRAINING_LOSS: "#0072b2", q.INFERENCE_LOSS: "#d55e00"}
_LINE: dict[str, Any] = {"lw": 1.6, "marker": "o", "ms": 4}
_ABOVE = "above: inference differs clearly from training"
_MOST_NAMES = 8
_MARKERS = (
    "os^DvP<>"  # in addition to colours, which are similar for neighbours
)
_LONGEST_NAME = 34


def plot_batch_norms(
    recording: Recording, title: str | None = None
) -> "Figure":
    """Draws shifts of the layers over the epochs, dark to light with depth.

    On the left the median shift of the mean in each layer, then the median size
    of the log ratio of the variances; the dashed lines are where the typical
    channel is one standard deviation off, and where one variance is twice the
    other. Above them, the model at inference differs from the one that was
    trained. On the right the loss of the probe in both modes or, without a
    probe, how much of their initial value the moving statistics still hold.
    With more than 8 layers, the legend names the first, the last and those that
    were worst in one of the first two panels.

    Args:
        recording: Recording of a `BatchNormShiftMonitor`.
        title: Title; by default the worst layer, in mean or variance, and how
            far off the worst was at first and at the end.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = rows_of(recording, MONITOR)
    epochs = epochs_of(rows, q.CALLS)
    if not epochs:
        return empty_figure(title or EMPTY)
    paths = rows.select(quantity=q.CALLS).owners
    values = {
        quantity: over_epochs(rows, quantity, paths, epochs)
        for quantity in (
            q.BATCH_NORM_SHIFT,
            q.BATCH_NORM_VARIANCE,
            q.INITIAL_SHARE,
        )
    }
    figure = new_figure(10.5, 4.6)
    shift, variance, last = figure.subplots(1, 3)
    entries = _draw_layers(shift, values[q.BATCH_NORM_SHIFT], paths, values)
    _ = _draw_layers(variance, values[q.BATCH_NORM_VARIANCE], paths, values)
    limit = _mark(shift, BATCH_NORM_SHIFT, "")
    _ = _mark(variance, BATCH_NORM_VARIANCE, "log 2: one is twice the other")
    _label(shift, f"{q.MEAN_SHIFT.label}, in σ")
    _label(variance, "|log ratio of the variances|")
    if q.INFERENCE_GAP in rows.quantities:
        entries += _draw_losses(last, rows, epochs)
        _label(last, "loss of the probe")
    else:
        _ = _draw_layers(last, values[q.INITIAL_SHARE], paths, values)
        _label(last, "share of the initial value still held")
    for axes in (shift, variance, last):
        axes.set_ylim(0.0, 1.05 * axes.get_ylim()[1])
        label_epochs(axes, epochs)
    add_legend(figure, [*entries, limit])
    figure.suptitle(
        title or _headline(rows, paths, epochs, values), size=TITLE_SIZE
    )
    return figure


def _draw_layers(
    axes: Any,
    values: np.ndarray,
    paths: Sequence[str],
    shown: dict[q.Quantity, np.ndarray],
) -> list[Any]:
    """Returns the lines that are named."""
    from matplotlib import colormaps

    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(paths)))
    named = _named(shown)
    names = figure_names(layer_names(paths), _LONGEST_NAME)
    lines = []
    for i, layer in enumerate(values):
        style: dict[str, Any] = {"alpha": 0.4}
        if i in named:
            style = {"marker": _MARKERS[named.index(i)]}
        style = _LINE | style | {"color": colours[i], "label": names[i]}
        lines += axes.plot(layer, **style)
    return [lines[i] for i in named]


def _named(shown: dict[q.Quantity, np.ndarray]) -> list[int]:
    """Layers named in the legend, in order, if they were ever measured."""
    shift, variance = shown[q.BATCH_NORM_SHIFT], shown[q.BATCH_NORM_VARIANCE]
    measured = np.flatnonzero(np.isfinite(shift).any(axis=1))
    if len(measured) <= _MOST_NAMES:
        return measured.tolist()
    worst = {
        int(measured[np.argmax(np.nanmax(values[measured], axis=1))])
        for values in (shift, variance)
    }
    off = [*map(derived.moving_statistics_off, shift[:, -1], variance[:, -1])]
    if np.isfinite(off).any():
        worst.add(int(np.nanargmax(off)))  # named in the title
    return sorted({*worst, int(measured[0]), int(measured[-1])})


def _draw_losses(
    axes: Any, rows: Recording, epochs: Sequence[tuple[int, int]]
) -> list[Any]:
    lines = []
    for quantity, colour in _MODES.items():
        (values,) = over_epochs(rows, quantity, [""], epochs)
        lines += axes.plot(values, color=colour, label=quantity.label, **_LINE)
    return lines


def _label(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", size=LABEL_SIZE)


def _mark(axes: Any, limit: float, text: str) -> Any:
    """A line, with its meaning if the scale does not show it."""
    from matplotlib.patheffects import withStroke

    line = axes.axhline(limit, color="0.4", lw=1, ls="--", label=_ABOVE)
    axes.annotate(
        text,
        (1.0, limit),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color="0.3",
        path_effects=[withStroke(linewidth=3, foreground="white")],
    )
    return line


def _headline(
    rows: Recording,
    paths: Sequence[str],
    epochs: Sequence[tuple[int, int]],
    values: Mapping[q.Quantity, np.ndarray],
) -> str:
    """The layer that is worst at the end, and how the worst has changed."""
    off = [
        np.fmax.reduce([*map(derived.moving_statistics_off, *both)])
        for both in zip(
            values[q.BATCH_NORM_SHIFT].T,
            values[q.BATCH_NORM_VARIANCE].T,
            strict=True,
        )
    ]
    run, epoch = epochs[-1]
    text = worst_of(rows.select(run=run, epoch=epoch), paths)
    text = literal(text[:1].upper() + text[1:])
    if len(epochs) == 1 or not np.isfinite([off[0], off[-1]]).all():
        return text
    return (
        f"{text}\nThe worst layer was off by {off[0]:.2g} at first and "
        f"{off[-1]:.2g} at the end, in σ or factors of 2"
    )
