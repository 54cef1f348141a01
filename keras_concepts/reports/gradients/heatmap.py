"""A heatmap of layers over training steps, with its epochs."""

from typing import Any

import numpy as np

from keras_concepts.reports.drawing.epoch_axis import labelled
from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.drawing.heatmap import draw_cells
from keras_concepts.reports.gradients.binning import boundaries
from keras_concepts.reports.gradients.history import History

_MOST_EPOCH_TICKS = 60


def draw_steps(
    axes: Any, history: History, shown: Grid, span: tuple[float, float]
) -> Any:
    """Draws all steps of a recording; a white line separates two runs.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        history: Gradients, with the epochs.
        shown: `step_grid(history)`.
        span: Ends of the colour scale, see `colour_span`.

    Returns:
        The input of a colour bar.
    """
    image = draw_cells(axes, shown, span)
    for edge in run_edges(history):
        axes.axvline(edge, color="white", lw=3)
    _mark_epochs(axes, history)
    return image


def run_edges(history: History) -> np.ndarray:
    """Positions between the last step of a run and the first of the next."""
    changes = np.flatnonzero(np.diff(history.runs)) + 1
    return boundaries(history.places, np.append(0, changes))[1:-1]


def _mark_epochs(axes: Any, history: History) -> None:
    """Ticks on the top edge where epochs begin, with their numbers between."""
    epochs, runs = history.epochs, history.runs
    changes = (np.diff(epochs) != 0) | (np.diff(runs) != 0)
    begins = np.flatnonzero(np.append(True, changes))
    if len(begins) < 2:
        return
    every = list(zip(runs[begins], epochs[begins], strict=True))
    shown, names = labelled(axes, every)
    edges = boundaries(history.places, begins)
    centres = (edges[:-1] + edges[1:]) / 2.0
    top = axes.secondary_xaxis("top")
    top.set_xticks(centres[shown], names)
    if len(begins) <= _MOST_EPOCH_TICKS:
        top.set_xticks(edges[1:-1], minor=True)
    top.tick_params(
        length=0 if len(begins) <= _MOST_EPOCH_TICKS else 5,
        labelsize=TICK_SIZE,
    )
    top.tick_params(which="minor", length=5, width=0.7)
    top.set_xlabel("epoch", size=LABEL_SIZE)
