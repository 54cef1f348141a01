"""The compiled loss of given predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batches import as_fed
from keras_concepts._types import Tensor
from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.labels import (
    LabelForm,
    counted_classes,
)
from keras_concepts.instruments.data.rows import spread_rows

# Rows that are compared one by one: of a user's own loss, which may compare all
# of them with each other, and of Keras'; and entries of their predictions.
_MOST_OF_OWN = 2048
_MOST_ROWS = 262_144
_MOST_ENTRIES = 2_000_000
_REGIONS = {"SoftFBeta", "Tversky"}
_OF_ANSWERS = {"BinaryCrossentropy", "BinaryFocalCrossentropy"}


def losses_of(
    loss: OutputLoss,
    y: np.ndarray,
    predictions: Sequence[np.ndarray],
    shape: tuple[int, ...],
    sample_weight: np.ndarray | None,
) -> list[float]:
    """The loss of each prediction, constant or not, NaN where it fails."""
    if loss.name in _OF_ANSWERS and not (y.min() >= 0.0 and y.max() <= 1.0):
        # With PyTorch on a GPU, the process could not go on.
        return [math.nan] * len(predictions)

    def losses(y: Tensor, weight: Tensor, given: list[Tensor]) -> Tensor:
        found = []
        for each in given:
            y_pred = ops.broadcast_to(each, shape)
            found.append(ops.mean(loss.function(y, y_pred, weight)))
        return ops.stack(found)

    fed = as_fed([y, sample_weight, [p.astype("float32") for p in predictions]])
    try:
        values = _backend.compiled(losses, once=True)(*fed)
        return _backend.on_host(values).tolist()
    except Exception:  # a user's own loss, or labels that do not fit
        return [math.nan] * len(predictions)


def smallest(losses: list[float], scale: float) -> float | None:
    """The smallest finite loss, times `scale`; `None` if there is none."""
    finite = [each for each in losses if math.isfinite(each)]
    return scale * min(finite) if finite else None


def reduction(loss: OutputLoss) -> str | None:
    """How a loss reduces a batch, as Keras names it; `None` if not known."""
    return getattr(loss.function, "reduction", None)


def some_rows(loss: OutputLoss, count: int, entries: int) -> np.ndarray:
    """Indices of the rows that are compared one by one."""
    is_own = loss.kind == "other" or loss.name in _REGIONS
    most = max(_MOST_ENTRIES // max(entries, 1), 1)
    return spread_rows(count, min(_MOST_OF_OWN if is_own else _MOST_ROWS, most))


def output_shape(
    head: Mapping[str, Any], y: np.ndarray, form: LabelForm
) -> tuple[int, ...] | None:
    """Shape of the predictions for `y`, guessed from `y` if not known."""
    known = head["shape"]
    if known is None:
        if form == "sparse":
            classes = counted_classes(y, head.get("ignore_class"))
            if not len(classes) or classes.max() > 10_000:
                return None
            tail = y.shape[1:-1] if y.shape[-1] == 1 else y.shape[1:]
            tail = () if y.ndim == 1 else tail
            return (len(y), *tail, int(classes.max()) + 1)
        return (len(y), 1) if y.ndim == 1 else tuple(y.shape)
    shape = [len(y)]
    for axis, length in enumerate(known[1:], start=1):
        if length is None:
            if axis >= y.ndim:
                return None
            length = y.shape[axis]
        shape.append(int(length))
    return tuple(shape)
