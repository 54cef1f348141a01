"""Many steps as the columns of a heatmap."""

import numpy as np

from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.gradients.history import History


def step_grid(history: History, columns: int = 800) -> Grid:
    """Reduces one or more steps to about `columns` columns.

    A cell is the median of the finite steps in its column. A run begins in a
    new column.
    """
    count = len(history.steps)
    begins = np.flatnonzero(np.diff(history.runs)) + 1
    starts = np.union1d(np.arange(0, count, -(-count // columns)), begins)
    parts = np.split(np.ma.masked_invalid(history.values), starts[1:], axis=1)
    medians = [np.ma.median(part, axis=1) for part in parts]
    return Grid(
        edges=boundaries(history.places, starts),
        values=np.ma.stack(medians, axis=1).filled(np.nan),
        nonfinite=np.logical_or.reduceat(history.nonfinite, starts, axis=1),
    )


def boundaries(places: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Half-way points around the stretches that begin at these indices."""
    margin = np.diff(places).min() / 2.0 if len(places) > 1 else 0.5
    inner = (places[starts[1:] - 1] + places[starts[1:]]) / 2.0
    return np.concatenate([[places[0] - margin], inner, [places[-1] + margin]])
