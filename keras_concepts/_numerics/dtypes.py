"""Dtypes of tensors, and conversions only where they are needed."""

import keras
from keras import ops

from keras_concepts._types import Tensor


def dtype_of(tensor: Tensor) -> str:
    """Dtype of a tensor, by name."""
    return keras.backend.standardize_dtype(tensor.dtype)


def cast(tensor: Tensor, dtype: str) -> Tensor:
    """The tensor in a dtype; unchanged if it already has that dtype."""
    return tensor if dtype_of(tensor) == dtype else ops.cast(tensor, dtype)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """The product of two tensors; float32 if they differ in dtype."""
    if dtype_of(a) != dtype_of(b):
        a, b = ops.cast(a, "float32"), ops.cast(b, "float32")
    return a * b
