"""What the replicas of a distributed training measured, as one."""

from typing import Any, NamedTuple

import numpy as np


class ReplicaRows(NamedTuple):
    """What all replicas have appended to a buffer.

    Attributes:
        rows: `(replicas, steps, columns)`, float64.
        peaks: Largest of each unit in any replica, `(units,)`.
        count: Rows that each replica has appended; a ring holds the last ones.
    """

    rows: np.ndarray
    peaks: np.ndarray
    count: int


def read_replicas(buffer: Any) -> ReplicaRows:
    """Reads a `_backend.StepBuffer` and empties it."""
    rows, peaks, counts = zip(*buffer.read(), strict=True)
    buffer.clear()
    count = min(counts)
    return ReplicaRows(
        np.stack(rows).astype(np.float64)[:, :count],
        np.max(peaks, axis=0),
        count,
    )


def mean_over_replicas(values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Means of a whole batch, of those over each replica's share of it.

    As Keras weights losses in its logs: a replica whose share is empty, as the
    last batch of an epoch may have, does not count.

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
