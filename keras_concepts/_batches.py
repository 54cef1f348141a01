"""Models, and batches as `fit` passes them to a model."""

import hashlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


def dense_inputs(owner: str, name: str, structure: Any) -> Any:
    """Inputs as tensors of the backend, with pandas' missing numbers as NaN.

    Args:
        owner: Name of the function that takes them.
        name: Name of the argument.
        structure: Arrays in any structure, also those of another framework.

    Raises:
        TypeError: An array cannot become a dense tensor.
    """

    def tensor(array: Any) -> Tensor:
        dense = _backend.is_dense(array) and not hasattr(array, "toarray")
        try:
            if not dense:
                raise TypeError("not dense")
            return ops.convert_to_tensor(native(array))
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            dtype = getattr(array, "dtype", None)
            of = "" if dtype is None else f" of dtype {dtype}"
            raise TypeError(
                f"`{name}` of `{owner}` must be dense arrays, as the model "
                "takes them, or a list, tuple or dict of these. Received: a "
                f"{type(array).__name__}{of}."
            ) from error

    return keras.tree.map_structure(tensor, structure)


def native(array: Any) -> Any:
    """NumPy and pandas data in a form that every backend reads.

    Args:
        array: An array, or any other object, which is returned.
    """
    if ops.is_tensor(array) or not hasattr(array, "__array__"):
        return array
    known = np.asarray(array)
    if known.dtype.kind == "O" and hasattr(array, "to_numpy"):
        known = array.to_numpy("float64", na_value=np.nan)
    return known.astype(known.dtype.newbyteorder("="), copy=False)


def as_fed(structure: Any) -> Any:
    """Arrays as tensors of the backend, fractions in `floatx`.

    Args:
        structure: Arrays in any structure, also those of another framework, and
            `None`.
    """

    def tensor(array: Any) -> Tensor | None:
        if array is None:
            return None
        known = array if ops.is_tensor(array) else np.asarray(native(array))
        known = ops.convert_to_tensor(known)
        dtype = keras.backend.standardize_dtype(known.dtype)
        if keras.backend.is_float_dtype(dtype):
            known = ops.cast(known, keras.config.floatx())
        return known

    return keras.tree.map_structure(tensor, structure)


def check_model(owner: str, model: Any, kind: type[Any] = keras.Layer) -> None:
    """Raises a `TypeError` unless `model` is a Keras model or layer.

    Args:
        owner: Name of the function that takes it.
        model: The argument.
        kind: `keras.Model` if it must be a model.
    """
    if isinstance(model, kind):
        return
    expected = "a `keras.Model`"
    if kind is not keras.Model:
        expected += " or another `keras.Layer`"
    raise TypeError(
        f"`model` of `{owner}` must be {expected}. Received: a "
        f"{type(model).__name__}.{hint_for_wrapper(model)}"
    )


def hint_for_wrapper(model: Any) -> str:
    """A sentence to add to an error, if `model` wraps a Keras model.

    PyTorch's `DistributedDataParallel` does so.

    Args:
        model: The received object.
    """
    if isinstance(getattr(model, "module", None), keras.Layer):
        return " Pass what it wraps, `model.module`."
    return ""


def agreed(model: Any, value: Any) -> Any:
    """The value of the main process, if several train a model together.

    Processes must do the same operations in the same order, or they wait for
    each other forever. So one of them decides whatever depends on a clock, a
    random number or a share of the data. Each must call this.

    Args:
        model: The model.
        value: Anything that can be pickled.
    """
    return _backend.gathered(model, value)[0]


def check_agreed(owner: str, argument: str, model: Any, arrays: Any) -> None:
    """Raises unless all processes that train a model pass the same arrays.

    Args:
        owner: Name of the function or class that takes them.
        argument: Name of its argument.
        model: The model.
        arrays: Structure of arrays, tensors and `None`.
    """
    if _backend.process_count(model) == 1:
        return
    digest = hashlib.sha256()
    for leaf in keras.tree.flatten(arrays):
        array = np.asarray(None if leaf is None else _backend.on_host(leaf))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(b"" if leaf is None else array.tobytes())
    every = _backend.gathered(model, digest.hexdigest())
    if len(set(every)) > 1:
        raise ValueError(
            f"`{argument}` of `{owner}` must be the same on all {len(every)} "
            "processes, which compute with the model together. Received: "
            "different values. Pass the same rows on every process, not each "
            "process's share of the data."
        )
