"""Whether a user's own loss is lower for right predictions."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.labels import LabelForm
from keras_concepts.instruments.data.prediction_losses import (
    losses_of,
    output_shape,
)
from keras_concepts.instruments.data.rows import spread_rows

_ROWS = 512
_SURE = 0.98


def right_and_wrong_loss(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
) -> tuple[float | None, float | None]:
    """A user's own loss for right predictions, and for wrong ones.

    Right predictions are the labels themselves or, for classes, confident
    probabilities or logits; wrong ones are those of other rows. For a sound
    loss the first is smaller; for one that ignores the labels both are equal.

    Args:
        loss: Loss of the output.
        head: Facts of the output; see `head_facts`.
        y: Labels, `(n, ...)`.
        form: The form of the labels.

    Returns:
        Both losses, without weights; `None` for a Keras loss, or if the shapes
        of labels and output are not conclusive.
    """
    if loss.kind != "other" or y.dtype.kind not in "fiub" or len(y) < 2:
        return None, None
    shape = output_shape(head, y, form)
    if shape is None:
        return None, None
    most = max(_ROWS * 2048 // max(math.prod(shape[1:]), 1), 2)
    rows = spread_rows(len(y), min(_ROWS, most))
    y, shape = y[rows], (len(rows), *shape[1:])
    order = np.random.default_rng(0).permutation(len(rows))
    found: list[tuple[float, float]] = []
    for right in _right(y, shape, form, head.get("activation")):
        labels = y
        if form == "real" and y.ndim < len(shape):
            labels = y[..., None]
        losses = losses_of(loss, labels, [right, right[order]], shape, None)
        if all(map(math.isfinite, losses)):
            found.append((losses[0], losses[1]))
    if not found:
        return None, None
    return min(found, key=lambda pair: pair[0] - pair[1])


def _right(
    y: np.ndarray,
    shape: tuple[int, ...],
    form: LabelForm,
    activation: str | None,
) -> Iterator[np.ndarray]:
    units = shape[-1]
    if form in ("sparse", "one_hot"):
        if form == "one_hot":
            sure = y.reshape(shape).astype("float64")
        elif (
            y.size == math.prod(shape[:-1]) and 0 <= y.min() <= y.max() < units
        ):
            sure = np.eye(units)[y.astype("int64").reshape(shape[:-1])]
        else:
            return
        sure = sure * _SURE + (1.0 - _SURE) / units
    elif y.size == math.prod(shape):
        sure = y.reshape(shape).astype("float64")
        if form != "real":
            sure = np.clip(sure, 1.0 - _SURE, _SURE)
    else:
        return
    yield sure
    if form != "real" and activation in (None, "linear"):
        yield np.log(sure) - np.log1p(-sure)
