"""Many steps as the columns of a heatmap."""

import numpy as np

from keras_concepts.reports.drawing.grid import Grid
from keras_concepts.reports.gradients.history import History


def step_grid(history: History, columns: int = 800) -> Grid:
    """Brings at least one step down to at most `columns` columns.

    A cell is the median of the finite steps of its column.
    """
    count = len(history.steps)
    starts = np.arange(0, count, -(-count // columns))
    parts = np.split(np.ma.masked_invalid(history.values), starts[1:], axis=1)
    medians = [np.ma.median(part, axis=1) for part in parts]
    return Grid(
        edges=boundaries(history.steps, starts),
        values=np.ma.stack(medians, axis=1).filled(np.nan),
        nonfinite=np.logical_or.reduceat(history.nonfinite, starts, axis=1),
    )


def boundaries(steps: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Half-way points around the stretches that begin at these indices."""
    margin = np.diff(steps).min() / 2.0 if len(steps) > 1 else 0.5
    inner = (steps[starts[1:] - 1] + steps[starts[1:]]) / 2.0
    return np.concatenate([[steps[0] - margin], inner, [steps[-1] + margin]])
