"""The smallest loss that a bounded output can have."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.labels import LabelForm
from keras_concepts.instruments.data.prediction_losses import (
    losses_of,
    output_shape,
    reduction,
    some_rows,
)
from keras_concepts.rules.heads import RANGES


def reachable_loss(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
) -> float | None:
    """The compiled loss of targets that are clipped to the output's range.

    Args:
        loss: Loss of the output.
        head: Facts of the output; see `head_facts`.
        y: Targets, `(n, ...)`.
        form: Their form.
        sample_weight: Weights of samples or entries.
        batch_size: Rows of a batch, which only a sum needs.

    Returns:
        `None` if the output can be any number, if every target lies inside its
        range, or if the loss cannot be computed.
    """
    span = RANGES.get(head.get("activation") or "")
    shape = output_shape(head, y, form)
    if (
        span is None
        or shape is None
        or y.size != math.prod(shape)
        or not len(y)
    ):
        return None
    if not np.isfinite(y).all() or (y.min() >= span[0] and y.max() <= span[1]):
        return None
    rows = some_rows(loss, len(y), y.size // len(y))
    shape = (len(rows), *shape[1:])
    labels = y[rows].reshape(shape)
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    scale = 1.0
    if reduction(loss) == "sum":
        if not batch_size:
            return None
        scale = min(batch_size, len(rows)) / len(rows)
    nearest = np.clip(labels.astype("float64"), *span)
    [found] = losses_of(loss, labels, [nearest], shape, sample_weight)
    return scale * found if math.isfinite(found) else None
