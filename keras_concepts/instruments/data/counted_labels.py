"""The labels that count where an output has a mask."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_concepts.instruments.data.rows import take_rows
from keras_concepts.instruments.heads import Head


class CountedLabels(NamedTuple):
    """Labels of the entries that count, as if each were a sample.

    Attributes:
        y: Labels, `(m, ...)`.
        sample_weight: Their weights, or `None`.
        head: Facts of the output for such samples.
    """

    y: np.ndarray
    sample_weight: np.ndarray | None
    head: dict[str, Any]


def counted_labels(
    y: np.ndarray, sample_weight: np.ndarray | None, head: Head, x: Any
) -> CountedLabels | None:
    """The labels that Keras' mask of an output leaves in its loss.

    Args:
        y: Labels, `(n, ...)`.
        sample_weight: As Keras passes it to the loss, or `None`.
        head: Their output, which has a mask.
        x: Inputs of the same rows.

    Returns:
        `None` if the mask is not known, leaves nothing, or does not fit the
        labels.
    """
    shape = head.facts["shape"]
    if head.mask is None or x is None or shape is None:
        return None
    mask = head.mask(x)
    if mask is None or mask.shape != y.shape[: mask.ndim] or not mask.any():
        return None
    if len(shape) <= mask.ndim:  # the mask is one of units
        return None
    if sample_weight is not None:
        try:
            sample_weight = entry_weights(sample_weight, mask.shape)[mask]
        except ValueError:  # weights of single units
            return None
    facts = {**head.facts, "shape": [None, *shape[mask.ndim :]]}
    return CountedLabels(y[mask], sample_weight, facts)


def entry_weights(weight: Any, entries: tuple[int, ...]) -> np.ndarray:
    """Weights of samples or entries as weights of entries.

    Args:
        weight: As Keras passes it to the loss.
        entries: Shape of the entries.

    Raises:
        ValueError: The weights do not fit.
    """
    weight = np.asarray(weight, "float64")
    while weight.ndim > len(entries) and weight.shape[-1] == 1:
        weight = weight[..., 0]
    while weight.ndim < len(entries):
        weight = weight[..., None]
    return np.broadcast_to(weight, entries)


def rows_of(x: Any, rows: np.ndarray) -> Any:
    """Some rows of inputs; `None` if one of them cannot be read."""
    if x is None:
        return None
    found = keras.tree.map_structure(lambda leaf: take_rows(leaf, rows), x)
    leaves = keras.tree.flatten(found)
    return None if any(leaf is None for leaf in leaves) else found
