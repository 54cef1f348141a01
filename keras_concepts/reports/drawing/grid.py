"""The cells of a heatmap: layers over stretches of training steps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts.reports.gradients.history import History


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
        edges=boundaries(history.steps, starts),
        values=np.ma.stack(medians, axis=1).filled(np.nan),
        nonfinite=np.logical_or.reduceat(history.nonfinite, starts, axis=1),
    )


def boundaries(steps: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Half-way points around the stretches that begin at these indices."""
    margin = np.diff(steps).min() / 2.0 if len(steps) > 1 else 0.5
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
