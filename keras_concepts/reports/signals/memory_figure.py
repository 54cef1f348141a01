"""A figure of how far back the gradient of a recurrent layer reaches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.colour_bar import draw_colour_bar
from keras_concepts.reports.drawing.epoch_axis import label_epoch_columns
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.drawing.heatmap import (
    draw_cells,
    patches,
)
from keras_concepts.reports.drawing.names import figure_names, layer_names
from keras_concepts.reports.signals.measurements import (
    Measurement,
    layers_of,
    measurements,
    over_lags,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EMPTY = "No gradients through time have been recorded yet."
_LINE = "#d55e00"
_LABEL = "memory horizon: above the line, less than 1 % of the largest"
# Smaller values share one colour: they are too small to learn from.
_LEAST_SHARE = 1e-4
_PANELS_A_ROW = 3
_LONGEST_NAME = 24


def plot_memory(recording: Recording, title: str | None = None) -> "Figure":
    """Draws how far back the gradient of each recurrent layer reaches.

    One panel per layer: steps back from the last one that was read, over the
    epochs; `start` is before training. The colour is RMS dL/dh_t (for an LSTM
    dL/dc_t) as a share of the largest in its column (values below 1e-4 look
    like 1e-4); the line is the memory horizon: how many steps back more than 1
    % of the largest reaches. A white line separates two runs.

    Args:
        recording: Recording of a `SignalMonitor`.
        title: Title.

    Raises:
        ImportError: matplotlib is not installed.
    """
    found = measurements(recording)
    layers = layers_of(found, q.STATE_ERROR_RMS)
    if not layers:
        return empty_figure(title or _EMPTY)
    columns = min(len(layers), _PANELS_A_ROW)
    figure = new_figure(3.5 + 3.5 * columns, memory_height(layers) + 0.8)
    entries = draw_memory(figure, found, layers)
    add_legend(figure, [*entries.values()])
    figure.suptitle(
        title or "Gradient through time: how far back it reaches",
        size=TITLE_SIZE,
    )
    return figure


def memory_height(layers: Sequence[str]) -> float:
    """Size of the panels, in inches."""
    return 3.4 * -(-len(layers) // _PANELS_A_ROW)


def draw_memory(
    part: Any, found: Sequence[Measurement], layers: Sequence[str]
) -> dict[str, Any]:
    """Draws a panel per layer; returns entries for the legend, by label."""
    columns = min(len(layers), _PANELS_A_ROW)
    rows = -(-len(layers) // columns)
    panels = part.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(layers) :]:
        axes.set_axis_off()
    entries, zeros, image = {}, False, None
    names = figure_names(layer_names(layers), _LONGEST_NAME)
    for axes, layer, name in zip(panels.flat, layers, names, strict=False):
        shown = _shares(over_lags(found, layer))
        zeros |= bool((shown.values == 0.0).any())
        image = draw_cells(axes, shown, (_LEAST_SHARE, 1.0))
        entries |= patches(shown, "not recorded")
        axes.invert_yaxis()  # steps back count upwards
        axes.yaxis.get_major_locator().set_params(integer=True)
        label_epoch_columns(axes, [(m.run, m.epoch) for m in found])
        axes.set_title(name, loc="left", size=LABEL_SIZE, weight="bold")
        entries[_LABEL] = _draw_horizon(axes, found, layer)
    for axes in panels[:, 0]:
        axes.set_ylabel("steps back", size=LABEL_SIZE)
    draw_colour_bar(
        part,
        image,
        list(panels.flat),
        "gradient through time,\nshare of the largest",
        zeros=zeros,
        aspect=20 * rows,
    )
    return entries


def _draw_horizon(axes: Any, found: Sequence[Measurement], layer: str) -> Any:
    """A line above the steps that the memory reaches."""
    horizon = np.array([m.value(layer, q.MEMORY_HORIZON) for m in found])
    edges = np.arange(len(found) + 1) - 0.5
    # Half of a line exactly on the edge would lie outside.
    below, above = axes.get_ylim()
    axes.set_ylim(below, above + 0.02 * (above - below))
    return axes.stairs(
        horizon - 0.5,
        edges,
        baseline=None,
        color=_LINE,
        lw=2.5,
        label=_LABEL,
    )


def _shares(shown: Grid) -> Grid:
    """Shares of the largest in each column; tiny ones raised to the minimum."""
    largest = np.nanmax(
        shown.values, axis=0, initial=np.finfo(float).tiny, keepdims=True
    )
    shares = shown.values / largest
    raised = np.where(shares > 0.0, np.maximum(shares, _LEAST_SHARE), shares)
    return shown._replace(values=raised)
