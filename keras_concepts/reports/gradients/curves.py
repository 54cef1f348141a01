"""Curves of RMS gradients over training steps."""

from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.drawing.names import figure_names
from keras_concepts.reports.gradients.heatmap import run_edges
from keras_concepts.reports.gradients.history import History

_COLOURS = ("#0072b2", "#d55e00")
_POINTS = 150
_LONGEST_NAME = 30


def draw_curves(axes: Any, history: History) -> list[Any]:
    """Draws the first and last layer on a logarithmic scale.

    If several steps share a point, a band shows their 10th to 90th percentile.
    Zeros and non-finite values leave a gap. If two runs differ in their
    variables, only the last run is drawn.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        history: At least one variable and one step.

    Returns:
        The lines, for a legend.
    """
    lines = []
    drawn = history.of_one_model()
    alone = "" if drawn is history else " (last run)"
    first, last = drawn.ends
    rows = {"first ": first, "last ": last} if last != first else {"": first}
    names = figure_names(
        [drawn.name_of(row) for row in rows.values()], _LONGEST_NAME
    )
    for (place, row), name, colour in zip(
        rows.items(), names, _COLOURS, strict=False
    ):
        steps, low, middle, high = _percentiles(drawn, drawn.joint(row))
        lines += axes.plot(
            steps,
            middle,
            color=colour,
            label=f"{place}layer: {name}{alone}",
            lw=2,
        )
        single = _alone(middle)
        axes.plot(steps[single], middle[single], "o", color=colour)
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, lw=0)
    for edge in run_edges(history):
        axes.axvline(edge, color="0.5", lw=1, ls=":")
    values = np.stack([drawn.joint(row) for row in rows.values()])
    if (np.isfinite(values) & (values > 0.0)).any():
        axes.set_yscale("log")
    else:
        axes.set_yticks([])
    axes.set_ylabel(q.GRADIENT_RMS.label, size=LABEL_SIZE)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axes.set_xlabel(history.step_label, size=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    return lines


def _percentiles(
    history: History, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Places and the 10th, 50th and 90th percentile, about `_POINTS` each."""
    count = len(history.steps)
    begins = np.flatnonzero(np.diff(history.runs)) + 1
    starts = np.union1d(np.arange(0, count, -(-count // _POINTS)), begins)
    split = np.split(values, starts[1:])
    places = np.split(history.places, starts[1:])
    points = np.full((4, len(starts)), np.nan)
    for i, part in enumerate(split):
        drawn = part[np.isfinite(part) & (part > 0.0)]
        points[0, i] = places[i].mean()
        if len(drawn):
            points[1:, i] = np.percentile(drawn, [10, 50, 90])
    return points[0], points[1], points[2], points[3]


def _alone(values: np.ndarray) -> np.ndarray:
    """Points that a line would not show: between gaps, or one of very few."""
    drawn = np.isfinite(values)
    if len(values) < 10:
        return drawn
    around = np.concatenate([[False], drawn, [False]])
    return drawn & ~around[:-2] & ~around[2:]
