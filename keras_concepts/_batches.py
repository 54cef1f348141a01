"""Models, and batches as `fit` hands them to one."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts._types import Tensor


def as_fed(structure: Any) -> Any:
    """Arrays as tensors of the backend, fractions in `floatx`.

    Args:
        structure: Of arrays, also those of another framework, and `None`.
    """

    def tensor(array: Any) -> Tensor | None:
        if array is None:
            return None
        known = array if ops.is_tensor(array) else np.asarray(array)
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
