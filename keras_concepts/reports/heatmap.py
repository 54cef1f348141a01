"""A heatmap of RMS gradients: layers over training steps."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts.reports.history import History
from keras_concepts.reports.names import shorten

NONFINITE = "#e8175d"
ZERO = "black"
MISSING = "0.85"
LABEL_SIZE = 12
TICK_SIZE = 10.5
_LONGEST_NAME = 24
_MOST_EPOCH_TICKS = 60
# Shades of dark blue to yellow that differ in lightness, so that they also
# read without colour.
_COLOURS = "viridis"
# Below every logarithm that is drawn.
_LOG_ZERO = -1e9


class Grid(NamedTuple):
    """What a heatmap shows.

    Attributes:
        edges: Steps between which each of `k` columns lies, `(k + 1,)`.
        values: RMS gradient, `(layers, k)`: the median of the column's finite
            steps, NaN where there is none.
        nonfinite: Whether a gradient of the column held a NaN or an infinity.
    """

    edges: np.ndarray
    values: np.ndarray
    nonfinite: np.ndarray


def grid(history: History, columns: int = 800) -> Grid:
    """Brings at least one step down to at most `columns` columns."""
    count = len(history.steps)
    starts = np.arange(0, count, -(-count // columns))
    parts = np.split(np.ma.masked_invalid(history.values), starts[1:], axis=1)
    medians = [np.ma.median(part, axis=1) for part in parts]
    return Grid(
        edges=_boundaries(history.steps, starts),
        values=np.ma.stack(medians, axis=1).filled(np.nan),
        nonfinite=np.logical_or.reduceat(history.nonfinite, starts, axis=1),
    )


def _boundaries(steps: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Half-way points around the stretches that begin at these indices."""
    margin = np.diff(steps).min(initial=steps[-1] + 1) / 2.0
    if len(steps) == 1:
        margin = 0.5
    inner = (steps[starts[1:] - 1] + steps[starts[1:]]) / 2.0
    return np.concatenate([[steps[0] - margin], inner, [steps[-1] + margin]])


def colour_span(grids: Sequence[Grid]) -> tuple[float, float]:
    """Lowest and highest log10 of all positive values, at least 1 apart."""
    logs = np.concatenate([np.log10(g.values[g.values > 0.0]) for g in grids])
    if not len(logs):
        return -1.0, 0.0
    low, high = float(logs.min()), float(logs.max())
    slack = max(0.0, 1.0 - (high - low)) / 2.0
    return low - slack, high + slack


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
    from matplotlib import colormaps

    rows = np.arange(len(history.names) + 1) - 0.5
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
    _mark_epochs(axes, history)
    return image


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


def draw_colour_bar(
    figure: Any, image: Any, axes: Any, zeros: bool, **layout: Any
) -> None:
    """A colour bar in powers of ten; exact zeros have a colour of their own."""
    bar = figure.colorbar(
        image,
        ax=axes,
        extend="min" if zeros else "neither",
        extendfrac=0.06,
        pad=0.015,
        **layout,
    )
    low, high = image.get_clim()
    # The 0 has the place of a tick at the lower end.
    ticks = _powers(low + (high - low) / 20.0 if zeros else low, high)
    bar.set_ticks([*ticks], labels=[*ticks.values()])
    bar.set_label("RMS gradient", size=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if zeros:
        _ = bar.ax.annotate(
            "0",
            (1.0, -0.03),
            xycoords="axes fraction",
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            size=TICK_SIZE,
        )


def _powers(low: float, high: float) -> dict[float, str]:
    """Ticks of a log10 axis: powers of ten; if it is short, 2 and 5 of each."""
    powers = np.arange(np.floor(low), high + 1e-9)
    every = -(-len(powers) // 8)
    ticks = {p: f"$10^{{{p:.0f}}}$" for p in powers if not p % every}
    if high - low < 2.0:
        for power in powers:
            for digit in (2, 5):
                label = rf"${digit}\times10^{{{power:.0f}}}$"
                ticks[power + np.log10(digit)] = label
    return {t: ticks[t] for t in sorted(ticks) if low <= t <= high}


def patches(histories: Sequence[History]) -> list[Any]:
    """Legend entries of the colours that the colour bar does not explain."""
    from matplotlib.patches import Patch

    entries = []
    if any(h.nonfinite.any() for h in histories):
        entries.append(Patch(color=NONFINITE, label="NaN or infinite"))
    if any(h.missing.any() for h in histories):
        entries.append(Patch(color=MISSING, label="no gradient"))
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
    every = _epochs_a_label(axes, epochs[begins])
    edges = _boundaries(history.steps, begins)
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


def _epochs_a_label(axes: Any, epochs: np.ndarray) -> int:
    """1, 2, 5, 10, ... so that the numbers have room."""
    inches = axes.bbox.width / axes.figure.dpi
    room = max(2.0, inches / (0.2 + 0.1 * len(str(epochs.max()))))
    fewest = len(epochs) / room
    decade = 10 ** math.floor(math.log10(max(fewest, 1.0)))
    return next(
        step
        for step in (decade, 2 * decade, 5 * decade, 10 * decade)
        if step >= fewest
    )
