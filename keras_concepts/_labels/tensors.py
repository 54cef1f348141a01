"""Labels, predictions and weights as tensors, from any container."""

from collections.abc import Iterator, Mapping, Set
from typing import Any, NoReturn

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.dtypes import dtype_of
from keras_concepts._types import Tensor

# How error messages name the arguments.
LABELS, PREDICTIONS, WEIGHTS = "Labels", "Predictions", "Sample weights"
_NAMES = (
    "Turn names into class numbers first: "
    "`classes, numbers = numpy.unique(names, return_inverse=True)`."
)
_DENSE = "Convert it to a dense array with rows of equal length."


def as_tensor(owner: str, what: str, value: Any) -> Tensor:
    """Numbers as a dense tensor; missing pandas values are NaN.

    Args:
        owner: Name of the loss or metric, for error messages.
        what: Name of the argument, for error messages.
        value: A tensor, an array of any framework, nested lists, a number, or
            a Series or DataFrame.

    Raises:
        TypeError: If it holds anything but numbers, or is not dense.
        ValueError: If a masked array hides entries.
    """
    # SciPy's sparse matrices have `toarray`.
    if not _backend.is_dense(value) or hasattr(value, "toarray"):
        _refuse(owner, what, f"a {type(value).__name__}", _DENSE)
    if hasattr(value, "dtype") and not _of_host(value):
        return _converted(owner, what, value)
    return _converted(owner, what, _array(owner, what, value))


def as_scores(owner: str, y_pred: Any) -> Tensor:
    """Predictions as a tensor of floats of at most 32 bits.

    Raises:
        TypeError: As `as_tensor`.
    """
    y_pred = as_tensor(owner, PREDICTIONS, y_pred)
    small = dtype_of(y_pred) in ("float16", "bfloat16", "float32")
    return y_pred if small else ops.cast(y_pred, "float32")


def _of_host(value: Any) -> bool:
    """Whether NumPy or pandas holds it, rather than a framework."""
    return isinstance(value, np.ndarray | np.generic) or hasattr(
        value, "to_numpy"
    )


def _array(owner: str, what: str, value: Any) -> Any:
    """Anything other than a tensor, as an array of numbers."""
    if isinstance(value, list | tuple) and any(
        ops.is_tensor(each) for each in keras.tree.flatten(value)
    ):
        return value
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise ValueError(
                f"{what} of `{owner}` cannot be masked. Pass `.filled(-1)` and "
                "`ignore_class=-1` for labels, and sample weights of 0 for "
                f"others. Received: {np.ma.count_masked(value)} masked entries."
            )
        value = value.data
    if value is None or isinstance(
        value, str | bytes | Mapping | Set | Iterator
    ):
        hint = _NAMES if isinstance(value, str | bytes) else _DENSE
        _refuse(owner, what, _described(value), hint)
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and hasattr(value, "to_numpy"):
            holder: Any = value
            array = holder.to_numpy("float64", na_value=np.nan)
    except (TypeError, ValueError):
        _refuse(owner, what, _described(value), f"{_DENSE} {_NAMES}")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype == "uint64":  # not in torch
        large = array.size and array.max() > np.iinfo("int64").max
        array = array.astype("float64" if large else "int64")
    if array.dtype.kind in "OUSMmVc" and "float" not in array.dtype.name:
        hint = _NAMES if array.dtype.kind in "OUS" else _DENSE
        _refuse(owner, what, _described(array), hint)
    return array


def _converted(owner: str, what: str, value: Any) -> Tensor:
    if "string" in str(getattr(value, "dtype", "")):
        _refuse(owner, what, "strings", _NAMES)
    try:
        tensor = ops.convert_to_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        # Another framework's tensor, which may be sparse or need a gradient.
        _refuse(owner, what, _described(value), _DENSE)
    if "complex" in str(tensor.dtype):
        _refuse(owner, what, "complex numbers", "Pass their real part.")
    return tensor


def _described(value: Any) -> str:
    if value is None:
        return "None"
    dtype = getattr(value, "dtype", None)
    of = "" if dtype is None else f" of dtype {dtype}"
    strings = getattr(dtype, "kind", "") in ("O", "U", "S")
    objects = ", strings or other objects" if strings else ""
    return f"{type(value).__name__}{of}{objects}"


def _refuse(owner: str, what: str, received: str, hint: str) -> NoReturn:
    raise TypeError(
        f"{what} of `{owner}` must be numbers in a dense array or tensor. "
        f"{hint} Received: {received}."
    )
