"""Heatmaps whose colours are equal steps of the logarithm."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_concepts.reports.drawing.blocks import block_levels
from keras_concepts.reports.drawing.figure_style import TICK_SIZE
from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.drawing.names import (
    figure_names,
    literal,
    printable,
)

NONFINITE = "#e8175d"
ZERO = "black"
MISSING = "0.85"
_LONGEST_NAME = 28
_LABEL_HEIGHT = 0.2  # inches
# Shades of dark blue to yellow that differ in lightness, so that they also
# read without colour.
_COLOURS = "viridis"


def draw_cells(axes: Any, shown: Grid, span: tuple[float, float]) -> Any:
    """Draws the cells, the first row on top.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        shown: At least one row and one column.
        span: Ends of the colour scale; see `colour_span`.

    Returns:
        The input of a colour bar.
    """
    from matplotlib import colormaps
    from matplotlib.colors import LogNorm

    rows = np.arange(len(shown.values) + 1) - 0.5
    # A zero has no logarithm: it stands for values below the scale.
    values = np.where(shown.values == 0.0, span[0] / 2.0, shown.values)
    image = axes.pcolormesh(
        shown.edges,
        rows,
        np.ma.masked_invalid(values),
        cmap=colormaps[_COLOURS].with_extremes(under=ZERO, bad=MISSING),
        norm=LogNorm(*span),
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


def label_layers(
    axes: Any,
    names: Sequence[str],
    height: float,
    kinds: Sequence[str] | None = None,
    longest: int = _LONGEST_NAME,
) -> None:
    """Names the rows or, if there are too many, their blocks.

    Blocks are those of `block_levels`; a tick marks where one ends. If names
    show no blocks, as many rows are named as fit, including the first and last.

    Args:
        axes: Axes of a heatmap.
        names: One name per row.
        height: Height of the axes, in inches.
        kinds: Kind of layer of each row, in bands of equal kinds, which are
            named and separated by a line.
        longest: Maximum length of a name.
    """
    kinds = [""] * len(names) if kinds is None else kinds
    bands = _runs(kinds)
    for begin in bands[1:]:
        axes.axhline(begin - 0.5, color="white", lw=2)
    room = max(2, int(height / _LABEL_HEIGHT))
    places, labels = _rows_with_labels(names, room)
    if len(names) > room:
        for blocks in block_levels(names):
            begins = _runs([*zip(kinds, blocks, strict=True)])
            if len(bands) < len(begins) <= room:
                ends = np.array([*begins[1:], len(names)])
                places = (np.array(begins) + ends - 1) / 2.0
                labels = [
                    names[i] if end - i == 1 else blocks[i]
                    for i, end in zip(begins, ends, strict=True)
                ]
                axes.set_yticks(ends[:-1] - 0.5, minor=True)
                break
    axes.set_yticks(places, figure_names(labels, longest))
    if len(bands) > 1:
        _name_bands(axes, bands, kinds, height)
    axes.tick_params(axis="y", length=0)


def _name_bands(
    axes: Any, bands: Sequence[int], kinds: Sequence[str], height: float
) -> None:
    """The kind of each band, in its upper left corner, if it fits."""
    from matplotlib.patheffects import withStroke

    ends = [*bands[1:], len(kinds)]
    for begin, end in zip(bands, ends, strict=True):
        if height * (end - begin) / len(kinds) >= _LABEL_HEIGHT:
            axes.annotate(
                literal(printable(kinds[begin])),
                (0.0, begin - 0.5),
                xycoords=axes.get_yaxis_transform(),
                xytext=(4, -3),
                textcoords="offset points",
                va="top",
                color="white",
                size=TICK_SIZE,
                path_effects=[withStroke(linewidth=2.5, foreground="0.15")],
            )


def _rows_with_labels(names: Sequence[str], room: int) -> tuple[Any, list[str]]:
    last = len(names) - 1
    every = max(1, -(-len(names) // room))
    places = [i for i in range(0, last, every) if last - i >= every]
    places.append(last)
    return places, [names[i] for i in places]


def _runs(keys: Sequence[Any]) -> list[int]:
    """Where runs of equal values begin."""
    return [i for i, key in enumerate(keys) if not i or key != keys[i - 1]]


def patches(shown: Grid, absent: str = "no gradient") -> dict[str, Any]:
    """Legend entries of the colours that the colour bar does not explain.

    Args:
        shown: The contents of a heatmap.
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
