"""Arrays of any framework as NumPy arrays, whole or a few rows."""

from typing import Any

import keras
import numpy as np
from keras import ops

# Tensors of these classes have rows of different lengths, or few entries.
from keras_concepts import _backend

_NOT_DENSE = ("RaggedTensor", "SparseTensor", "BCOO", "BCSR", "IndexedSlices")


def as_numpy(array: Any) -> np.ndarray | None:
    """The array in NumPy, without a copy if it is there already.

    `None` if it is sparse, ragged or not an array.
    """
    if array is None or type(array).__name__ in _NOT_DENSE:
        return None
    if not isinstance(array, np.ndarray):
        try:
            array = _converted(array)
        except Exception:  # from another framework
            return None
    if array.dtype.name == "bfloat16":
        array = array.astype("float32")
    return array


def _converted(array: Any) -> np.ndarray:
    if hasattr(array, "tocsr"):  # of SciPy
        return array.toarray()
    if hasattr(array, "iloc"):  # of pandas; Keras gives a series an axis
        values = array.to_numpy()
        return values[:, None] if values.ndim == 1 else values
    if ops.is_tensor(array):
        return _backend.on_host(array)
    return np.asarray(array)


def take_rows(array: Any, rows: np.ndarray) -> np.ndarray | None:
    """Some rows in NumPy; `None` if sparse, ragged or not an array."""
    if array is None or type(array).__name__ in _NOT_DENSE:
        return None
    try:
        if isinstance(array, np.ndarray):
            return as_numpy(array[rows])
        if hasattr(array, "tocsr"):
            return array.tocsr()[rows].toarray()
        if hasattr(array, "iloc"):
            return as_numpy(array.iloc[rows])
        if ops.is_tensor(array):
            return as_numpy(ops.take(array, rows, axis=0))
    except Exception:  # such as strings, which the backend cannot index
        pass
    whole = as_numpy(array)
    return None if whole is None else whole[rows]


def row_count(structure: Any) -> int | None:
    """Rows of the first array in a structure, `None` if there is none."""
    for leaf in keras.tree.flatten(structure):
        shape = getattr(leaf, "shape", None)
        if shape is not None and len(shape) and shape[0] is not None:
            return int(shape[0])
    return None


def spread_rows(count: int, wanted: int, seed: int = 0) -> np.ndarray:
    """Indices of some rows in order: one from each of as many equal parts.

    Sorted data are then covered evenly, and periodic data do not alias.
    """
    if count <= wanted:
        return np.arange(count)
    edges = np.linspace(0, count, wanted + 1)
    shift = np.random.default_rng(seed).random(wanted)
    rows = edges[:-1] + shift * np.diff(edges)
    return np.minimum(rows.astype("int64"), count - 1)


def entries_per_row(array: Any) -> int:
    """Number of entries in a row, at least 1."""
    shape = getattr(array, "shape", ())
    return max(int(np.prod([n or 1 for n in shape[1:]], dtype="int64")), 1)


def named_leaves(structure: Any, prefix: str) -> list[tuple[str, Any]]:
    """Arrays of a structure with a name for each: its key or number.

    Args:
        structure: An array, or lists, tuples and dicts of them.
        prefix: Name of a single array, and prefix of the names of several.
    """
    if isinstance(structure, dict):
        return [
            pair
            for key, value in structure.items()
            for pair in named_leaves(value, str(key))
        ]
    if isinstance(structure, list | tuple):
        if len(structure) == 1:
            return named_leaves(structure[0], prefix)
        return [
            pair
            for place, value in enumerate(structure)
            for pair in named_leaves(value, f"{prefix}_{place}")
        ]
    return [] if structure is None else [(prefix, structure)]
