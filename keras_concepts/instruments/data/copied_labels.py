"""Whether labels repeat an input, which is wrong for a language model."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_concepts.instruments.data.rows import (
    named_leaves,
    row_count,
    spread_rows,
    take_rows,
)

_ROWS = 256
# Shorter sequences may be equal by chance.
_STEPS = 3


def copied_input(
    x: Any, y: Any, ignored: Iterable[float | None] = ()
) -> str | None:
    """Name of an input of integers that equals the labels in every entry.

    Up to 256 rows are compared.

    Args:
        x: Inputs, arrays in any structure.
        y: Labels of one output.
        ignored: Labels that the loss ignores.

    Returns:
        Its name; `None` if there is none, if the labels are not sequences, or
        if all labels are the same.
    """
    count = row_count(y)
    if not count:
        return None
    rows = spread_rows(count, _ROWS)
    labels = take_rows(y, rows)
    if labels is None or labels.dtype.kind not in "fiub":
        return None
    labels = _sequences(labels)
    if labels.ndim != 2 or labels.shape[1] < _STEPS:
        return None
    for name, leaf in named_leaves(x, "input"):
        if row_count(leaf) != count:
            continue
        ids = take_rows(leaf, rows)
        if ids is None or ids.dtype.kind not in "iu":
            continue
        ids = _sequences(ids)
        if ids.shape != labels.shape or ids.min() == ids.max():
            continue
        counts = ~np.isin(
            labels, [each for each in ignored if each is not None]
        )
        if counts.any() and np.array_equal(ids[counts], labels[counts]):
            return name
    return None


def _sequences(array: np.ndarray) -> np.ndarray:
    """Without a last axis of length 1."""
    return array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
