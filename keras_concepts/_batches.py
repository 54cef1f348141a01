"""Models, and batches as `fit` hands them to one."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


def dense_inputs(owner: str, name: str, structure: Any) -> Any:
    """Inputs as tensors of the backend, missing numbers of pandas as NaN.

    Args:
        owner: Function that takes them.
        name: Argument.
        structure: Of arrays, also those of another framework.

    Raises:
        TypeError: One cannot become a dense tensor.
    """

    def tensor(array: Any) -> Tensor:
        dense = _backend.is_dense(array) and not hasattr(array, "toarray")
        try:
            if not dense:
                raise TypeError("not dense")
            return ops.convert_to_tensor(_native(array))
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            dtype = getattr(array, "dtype", None)
            of = "" if dtype is None else f" of dtype {dtype}"
            raise TypeError(
                f"`{name}` of `{owner}` must be dense arrays, as the model "
                "takes them, or a list, tuple or dict of such. Received: a "
                f"{type(array).__name__}{of}."
            ) from error

    return keras.tree.map_structure(tensor, structure)


def _native(array: Any) -> Any:
    """What NumPy and pandas hold as every backend reads it."""
    if ops.is_tensor(array) or not hasattr(array, "__array__"):
        return array
    known = np.asarray(array)
    if known.dtype.kind == "O" and hasattr(array, "to_numpy"):
        known = array.to_numpy("float64", na_value=np.nan)
    return known.astype(known.dtype.newbyteorder("="), copy=False)


def as_fed(structure: Any) -> Any:
    """Arrays as tensors of the backend, fractions in `floatx`.

    Args:
        structure: Of arrays, also those of another framework, and `None`.
    """

    def tensor(array: Any) -> Tensor | None:
        if array is None:
            return None
        known = array if ops.is_tensor(array) else np.asarray(_native(array))
        known = ops.convert_to_tensor(known)
        dtype = keras.backend.standardize_dtype(known.dtype)
        if keras.backend.is_float_dtype(dtype):
            known = ops.cast(known, keras.config.floatx())
        return known

    return keras.tree.map_structure(tensor, structure)


def check_model(owner: str, model: Any) -> None:
    """Raises a `TypeError` unless `model` is a Keras model or layer.

    Args:
        owner: Function that takes it.
        model: Argument.
    """
    if isinstance(model, keras.Layer):
        return
    hint = ""
    if isinstance(getattr(model, "module", None), keras.Layer):
        hint = " Pass what it wraps, `model.module`."
    raise TypeError(
        f"`model` of `{owner}` must be a `keras.Model` or another "
        f"`keras.Layer`. Received: a {type(model).__name__}.{hint}"
    )
