"""Heatmaps: layers over training steps, or over epochs."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.drawing.grid import Grid, boundaries
from keras_concepts.reports.drawing.names import shorten
from keras_concepts.reports.gradients.history import History

NONFINITE = "#e8175d"
ZERO = "black"
MISSING = "0.85"
_LONGEST_NAME = 24
_MOST_EPOCH_TICKS = 60
# Shades of dark blue to yellow that differ in lightness, so that they also
# read without colour.
_COLOURS = "viridis"
# Below every logarithm that is drawn.
_LOG_ZERO = -1e9


def draw_heatmap(
    axes: Any, history: History, shown: Grid, span: tuple[float, float]
) -> Any:
    """Draws one training.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        history: Where the names and the epochs come from.
        shown: `grid(history)`.
        span: Ends of the colour scale, see `colour_span`.

    Returns:
        What a colour bar needs.
    """
    image = draw_cells(axes, shown, span)
    _mark_epochs(axes, history)
    return image


def draw_cells(axes: Any, shown: Grid, span: tuple[float, float]) -> Any:
    """Draws the cells alone, the first row on top."""
    from matplotlib import colormaps

    rows = np.arange(len(shown.values) + 1) - 0.5
    logs = np.full(shown.values.shape, np.nan)
    _ = np.log10(shown.values, out=logs, where=shown.values > 0.0)
    logs[shown.values == 0.0] = _LOG_ZERO
    image = axes.pcolormesh(
        shown.edges,
        rows,
        np.ma.masked_invalid(logs),
        cmap=colormaps[_COLOURS].with_extremes(under=ZERO, bad=MISSING),
        vmin=span[0],
        vmax=span[1],
        rasterized=True,
    )
    if shown.nonfinite.any():
        _mark_nonfinite(axes, shown, rows)
    axes.set(xlim=shown.edges[[0, -1]], ylim=rows[[-1, 0]])
    axes.tick_params(labelsize=TICK_SIZE)
    return image


def heatmap_height(rows: int) -> float:
    """In inches."""
    return float(np.clip(0.27 * rows, 1.4, 6.5))


def label_layers(axes: Any, names: Sequence[str], height: float) -> None:
    """Names as many rows as there is room for, the first and last among them.

    Args:
        axes: Axes of a heatmap.
        names: One name a row.
        height: Of the axes, in inches.
    """
    last = len(names) - 1
    every = max(1, round(0.2 * len(names) / height))
    labelled = [i for i in range(0, last, every) if last - i >= every]
    labelled.append(last)
    axes.set_yticks(
        labelled, [shorten(names[i], _LONGEST_NAME) for i in labelled]
    )
    axes.tick_params(axis="y", length=0 if every == 1 else 3)


def label_columns(axes: Any, labels: Sequence[str]) -> None:
    """Labels as many columns as there is room for, the first among them.

    Half of the first label, which may be longer than the others, has room
    outside.
    """
    longest = max(map(len, labels[1:]), default=0) + 1
    every = _columns_a_label(axes, len(labels), longest)
    axes.set_xticks(range(0, len(labels), every), labels[::every])


def patches(shown: Grid, absent: str = "no gradient") -> dict[str, Any]:
    """Legend entries of the colours that the colour bar does not explain.

    Args:
        shown: What a heatmap shows.
        absent: What a cell without a value means.

    Returns:
        Patches by label.
    """
    from matplotlib.patches import Patch

    entries = {}
    if shown.nonfinite.any():
        label = "NaN or infinite"
        entries[label] = Patch(color=NONFINITE, label=label)
    if (np.isnan(shown.values) & ~shown.nonfinite).any():
        entries[absent] = Patch(color=MISSING, label=absent)
    return entries


def _mark_nonfinite(axes: Any, shown: Grid, rows: np.ndarray) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.transforms import offset_copy

    axes.pcolormesh(
        shown.edges,
        rows,
        np.ma.masked_equal(shown.nonfinite, False),
        cmap=ListedColormap([NONFINITE]),
        rasterized=True,
    )
    inside = offset_copy(
        axes.get_xaxis_transform(), axes.figure, y=-5, units="points"
    )
    narrow = _narrow_stretches(shown)
    axes.plot(
        narrow,
        np.ones(len(narrow)),
        "v",
        color=NONFINITE,
        markeredgecolor="white",
        markersize=10,
        transform=inside,
    )


def _narrow_stretches(shown: Grid) -> np.ndarray:
    """Centres of non-finite stretches that could be overlooked."""
    marked = np.concatenate([[False], shown.nonfinite.any(axis=0), [False]])
    begins = shown.edges[np.flatnonzero(marked[1:] & ~marked[:-1])]
    ends = shown.edges[np.flatnonzero(marked[:-1] & ~marked[1:])]
    narrow = ends - begins < (shown.edges[-1] - shown.edges[0]) / 50.0
    return ((begins + ends) / 2.0)[narrow]


def _mark_epochs(axes: Any, history: History) -> None:
    """Ticks on the top edge where epochs begin, their numbers in between."""
    epochs = history.epochs
    begins = np.flatnonzero(np.append(True, epochs[1:] != epochs[:-1]))
    if len(begins) < 2:
        return
    every = _columns_a_label(axes, len(begins), len(str(epochs.max())))
    edges = boundaries(history.steps, begins)
    centres = (edges[:-1] + edges[1:]) / 2.0
    top = axes.secondary_xaxis("top")
    top.set_xticks(centres[::every], epochs[begins][::every])
    if len(begins) <= _MOST_EPOCH_TICKS:
        top.set_xticks(edges[1:-1], minor=True)
    top.tick_params(
        length=0 if len(begins) <= _MOST_EPOCH_TICKS else 5,
        labelsize=TICK_SIZE,
    )
    top.tick_params(which="minor", length=5, width=0.7)
    top.set_xlabel("epoch", size=LABEL_SIZE)


def _columns_a_label(axes: Any, columns: int, characters: int) -> int:
    """1, 2, 5, 10, ... so that the labels have room."""
    inches = axes.bbox.width / axes.figure.dpi
    room = max(2.0, inches / (0.2 + 0.1 * characters))
    fewest = columns / room
    decade = 10 ** math.floor(math.log10(max(fewest, 1.0)))
    return next(
        step
        for step in (decade, 2 * decade, 5 * decade, 10 * decade)
        if step >= fewest
    )
