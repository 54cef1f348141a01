"""The loss of predictions that equal the labels."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.constant_predictions import SMALLEST
from keras_concepts.instruments.data.labels import LabelForm
from keras_concepts.instruments.data.prediction_losses import (
    losses_of,
    output_shape,
    reduction,
    smallest,
    some_rows,
)


def perfect_loss(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
) -> float:
    """The compiled loss of predictions that equal the labels.

    It is above 0 for the cross-entropy of probabilities, such as grey pixels
    and ratings, and with label smoothing; for Poisson's loss of counts it may
    be anything. It is 0 for all other losses, and where it cannot be computed.
    See `constant_losses` for the arguments.
    """
    name, smoothing = loss.name, loss.label_smoothing
    is_mixed = form == "probabilities" and name.endswith("Crossentropy")
    is_smooth = smoothing and form in ("one_hot", "binary", "multi_label")
    if not (is_mixed or is_smooth or (name == "Poisson" and form == "real")):
        return 0.0
    shape = output_shape(head, y, form)
    if shape is None or not len(y) or y.size != math.prod(shape):
        return 0.0
    rows = some_rows(loss, len(y), y.size // len(y))
    y, shape = y[rows], (len(rows), *shape[1:])
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    scale = 1.0
    if reduction(loss) == "sum":
        if not batch_size:
            return 0.0
        scale = min(batch_size, len(rows)) / len(rows)
    labels = y.astype("float64").reshape(shape)
    if name == "Poisson":
        candidates = [labels]
    else:
        even = 1 / shape[-1] if loss.kind == "multiclass" else 0.5
        labels = labels + (smoothing or 0.0) * (even - labels)
        labels = np.clip(labels, SMALLEST, 1 - SMALLEST)
        logits = np.log(labels)
        if loss.kind != "multiclass":
            logits = logits - np.log1p(-labels)
        candidates = [logits if loss.from_logits else labels]
    losses = losses_of(loss, y, candidates, shape, sample_weight)
    found = smallest(losses, scale)
    return 0.0 if found is None else found
