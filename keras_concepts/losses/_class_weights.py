"""Weights that are one number, or one number per class."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from keras import ops

from keras_concepts._types import Tensor

ClassWeights: TypeAlias = float | Sequence[float]


def plain(owner: str, name: str, weights: Any) -> float | list[float] | None:
    """The weights as Python values.

    Raises:
        ValueError: If they are not a number, or a list of numbers, of at least
            0.
    """
    if weights is None:
        return None
    array = np.asarray(weights, "float64")
    if array.ndim > 1 or not np.all(np.isfinite(array) & (array >= 0)):
        raise ValueError(
            f"`{name}` of `{owner}` must be a number, or one number per class, "
            f"of at least 0. Received: {name}={weights!r}."
        )
    return array.tolist()


def as_tensor(owner: str, name: str, weights: Any, like: Tensor) -> Tensor:
    """The weights as a tensor that multiplies `(..., C)`.

    Raises:
        ValueError: If they are a list of another length than `C`.
    """
    classes = like.shape[-1]
    if isinstance(weights, list) and len(weights) != classes:
        raise ValueError(
            f"`{name}` of `{owner}` must hold one number per class. Received: "
            f"{len(weights)} numbers for {classes} classes."
        )
    return ops.convert_to_tensor(weights, like.dtype)
