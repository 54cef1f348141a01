"""Merging the measurements of all replicas in distributed training."""

from typing import Any

import numpy as np


def read_replicas(buffer: Any) -> tuple[np.ndarray, np.ndarray, int]:
    """Reads a `_backend.StepBuffer` and empties it.

    Returns:
        Rows of all replicas, `(replicas, steps, columns)`, float64; the largest
        peak of each unit in any replica, `(units,)`; and how many rows each
        replica has appended; a ring holds the last ones.
    """
    rows, peaks, counts = zip(*buffer.read(), strict=True)
    buffer.clear()
    count = min(counts)
    kept = np.stack(rows).astype(np.float64)[:, :count]
    return kept, np.max(peaks, axis=0), count


def mean_over_replicas(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Means of a whole batch, from those over each replica's share of it.

    Weighted as Keras weights losses in its logs: a replica whose share is
    empty, as may happen in the last batch of an epoch, does not count.

    Args:
        values: `(replicas, steps, ...)`.
        sizes: Samples in each share, `(replicas, steps)`; NaN if not known.

    Returns:
        `(steps, ...)`.
    """
    if len(values) == 1:
        return values[0]
    weights = np.where(np.isnan(sizes), 1.0, sizes)
    weights = weights.reshape(weights.shape + (1,) * (values.ndim - 2))
    counted = np.where(weights > 0.0, values, 0.0)
    with np.errstate(invalid="ignore"):  # no replica has a share
        return (counted * weights).sum(axis=0) / weights.sum(axis=0)
