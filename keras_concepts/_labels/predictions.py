"""Predictions as probabilities, and as the classes that they choose."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import (
    UNKNOWN,
    Classes,
    Columns,
    Indices,
)
from keras_concepts._numerics.dtypes import cast
from keras_concepts._types import Tensor


def probabilities(logits: Tensor, *, binary: bool) -> Tensor:
    """Probabilities of logits.

    Args:
        logits: `(..., C)`.
        binary: Whether each class is a separate question, for a sigmoid, or one
            out of all, for a softmax.
    """
    return ops.sigmoid(logits) if binary else ops.softmax(logits, axis=-1)


def choose_classes(
    scores: Tensor,
    *,
    threshold: float | Sequence[float] | None,
    top_k: int | None,
    from_logits: bool,
) -> Classes:
    """The classes that scores predict.

    With neither threshold nor `top_k` that is the first of the largest scores,
    and for a single column a probability above 0.5. A threshold is always a
    probability: with `from_logits`, scores are compared with its logit.
    """
    num_classes = scores.shape[-1]
    if threshold is None and num_classes == 1:
        threshold = 0.5
    chosen = None
    if threshold is not None:
        chosen = above(scores, threshold, from_logits=from_logits)
        if top_k is None:
            return chosen
    if top_k in (None, 1):
        numbers = largest(scores)
    else:
        dtype = _backend.CLASS_NUMBERS
        numbers = cast(ops.top_k(scores, top_k)[1], dtype)
        numbers = numbers + UNKNOWN * cast(_backend.has_nan(scores), dtype)
    amounts = None
    if chosen is not None:
        unknown = numbers >= num_classes
        amounts = _backend.fill(chosen.at(numbers), unknown, 1)
    return Indices(numbers, num_classes, amounts)


def largest(scores: Tensor) -> Tensor:
    """The first of the largest of each row, `(rows, 1)`, integers.

    `UNKNOWN`, or more, where one of them is NaN.
    """
    return _backend.argmax(scores, UNKNOWN)


def above(scores: Tensor, thresholds: Any, *, from_logits: bool) -> Columns:
    """Whether scores are above thresholds, which are probabilities."""
    limits: Any = np.array(thresholds, "float32")
    if from_logits:
        with np.errstate(divide="ignore"):
            limits = (np.log(limits) - np.log1p(-limits)).astype("float32")
    several = limits.size > 1
    limits = ops.convert_to_tensor(limits) if several else float(limits.item())
    scores = cast(scores, "float32")
    # An infinite probability is impossible.
    unknown = _backend.has_nan(scores, or_infinity=not from_logits)
    return Columns(cast(scores > limits, "int32"), unknown)
