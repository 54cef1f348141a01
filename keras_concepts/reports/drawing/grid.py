"""The cells of a heatmap."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np


class Grid(NamedTuple):
    """The contents of a heatmap.

    Attributes:
        edges: Start of each of `k` columns, and end of the last one,
            `(k + 1,)`.
        values: One number per cell, `(rows, k)`; NaN where there is none.
        nonfinite: Whether a NaN or an infinity was measured there.
    """

    edges: np.ndarray
    values: np.ndarray
    nonfinite: np.ndarray

    @classmethod
    def of_columns(cls, values: np.ndarray, missing: np.ndarray) -> Self:
        """Cells in columns of width 1, the first centred at 0.

        Args:
            values: As measured, `(rows, k)`.
            missing: True where nothing was measured.
        """
        finite = np.isfinite(values) & ~missing
        return cls(
            edges=np.arange(values.shape[1] + 1) - 0.5,
            values=np.where(finite, values, np.nan),
            nonfinite=~finite & ~missing,
        )


def colour_span(grids: Sequence[Grid]) -> tuple[float, float]:
    """Lowest and highest of all positive values, at least a factor 10 apart."""
    positive = [g.values[g.values > 0.0] for g in grids]
    if not sum(map(len, positive)):
        return 0.1, 1.0
    # Beyond, matplotlib treats the ends of the scale as 0 or infinite.
    logs = np.clip(np.log10(np.concatenate(positive)), -280.0, 280.0)
    low, high = float(logs.min()), float(logs.max())
    slack = max(0.0, 1.0 - (high - low)) / 2.0
    return 10.0 ** (low - slack), 10.0 ** (high + slack)
