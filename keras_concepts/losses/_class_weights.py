"""Weights that are one number, or one number per class."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from keras import ops

from keras_concepts._types import Tensor

ClassWeights: TypeAlias = float | Sequence[float] | Mapping[int, float]
# No float32 is larger.
_HIGHEST = float(np.finfo("float32").max)
# The same as plain Python values.
Plain: TypeAlias = float | list[float] | dict[int, float]


def plain(owner: str, name: str, weights: Any) -> Plain | None:
    """The weights as Python values.

    Raises:
        ValueError: If they are not a number, a list of numbers or a dict from
            class to number, of at least 0.
    """
    if weights is None:
        return None
    if isinstance(weights, str):
        raise ValueError(
            f"`{name}` of `{owner}` cannot be a string: a loss sees one batch "
            "at a time and does not know the class frequencies. Compute the "
            "weights from all labels `y`: "
            "`len(y) / (classes * numpy.bincount(y))`. Received: "
            f"{name}={weights!r}."
        )
    keys: list[int] = []
    try:
        if isinstance(weights, Mapping):
            # As a dict that `fit` takes; JSON has only string keys.
            keys, weights = list(map(int, weights)), list(weights.values())
        array = np.asarray(weights, "float64")
    except (TypeError, ValueError, OverflowError):
        array = np.asarray(np.nan)
    if array.ndim > 1 or not np.all((array >= 0) & (array <= _HIGHEST)):
        raise ValueError(
            f"`{name}` of `{owner}` must be a number, one number per class or "
            "a dict from class to number, of at least 0. "
            f"Received: {name}={weights!r}."
        )
    values = array.tolist()
    return dict(zip(keys, values, strict=True)) if keys else values


def as_tensor(owner: str, name: str, weights: Plain, like: Tensor) -> Tensor:
    """The weights as a tensor that multiplies `(..., C)`.

    Raises:
        ValueError: If they are a list whose length is not `C`, or a dict with
            other classes.
    """
    classes = like.shape[-1]
    if isinstance(weights, dict):
        weights = listed(owner, name, weights, classes)
    if isinstance(weights, list) and len(weights) != classes:
        raise ValueError(
            f"`{name}` of `{owner}` must hold one number per class. Received: "
            f"{len(weights)} numbers for {classes} classes."
        )
    return ops.convert_to_tensor(weights, like.dtype)


def listed(
    owner: str, name: str, weights: dict[int, float], classes: int
) -> list[float]:
    """The weight of every class, 1 where a dict does not name it.

    Raises:
        ValueError: If the dict names other classes.
    """
    if not set(weights) <= set(range(classes)):
        raise ValueError(
            f"`{name}` of `{owner}` must name classes from 0 to {classes - 1}. "
            f"Received: {name}={weights}."
        )
    return [weights.get(number, 1.0) for number in range(classes)]
