"""Tensors in a pass that follows masks."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.masks.padding import Padding


def is_tensor(x: Any) -> bool:
    """Whether it has a shape and a dtype."""
    return hasattr(x, "shape") and hasattr(x, "dtype")


def is_sequence(tensor: Tensor, padding: Padding) -> bool:
    """Whether it has features for each step, `(rows, steps, ...)`."""
    shape = tuple(tensor.shape)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    return (
        len(shape) >= 3
        and shape[:2] == padding.steps.shape
        and keras.backend.is_float_dtype(dtype)  # otherwise a mask
    )


def values(tensor: Any) -> np.ndarray | None:
    """The tensor as an array, or `None` inside a trace."""
    try:
        return None if tensor is None else _backend.on_host(tensor)
    except (NotImplementedError, TypeError):
        return None


def padding_of(mask: Any) -> Padding | None:
    """The padding that a mask leaves out."""
    mask = values(mask)
    if mask is None or mask.ndim != 2:
        return None
    return Padding(~mask.astype(bool))


def same_values(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal apart from a cast."""
    if tuple(a.shape) != tuple(b.shape):
        return False
    a, b = (values(ops.cast(x, "float32")) for x in (a, b))
    # A cast to half precision rounds.
    return a is not None and b is not None and np.allclose(a, b, 1e-2, 1e-6)


def finite(tensors: list[Tensor], rows: np.ndarray) -> bool:
    """Whether some rows of all these tensors are finite."""
    arrays = [values(x) for x in tensors if len(x.shape)]
    return all(
        np.isfinite(array[rows].astype("float64")).all()
        for array in arrays
        if array is not None
        and array.dtype.kind in "fV"
        and len(array) == len(rows)
    )
