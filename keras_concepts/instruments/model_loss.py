"""The objective of a model, as its training step computes it."""

import inspect
from typing import Any

from keras_concepts import _backend
from keras_concepts._types import Tensor


class NoLossError(ValueError):
    """Labels were given for a model that cannot compute a loss."""


def model_loss(
    model: Any, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
) -> Tensor:
    """The result of `model.compute_loss`, with penalties and added losses.

    Call this in the scope in which the model made `y_pred`.

    Raises:
        NoLossError: There is no compiled loss, the model has no `compute_loss`
            of its own, and no layer has added a loss.
    """
    if not _backend.has_loss(model) and not model.losses:
        raise NoLossError(
            "Labels need a model with a loss: pass `loss` to `compile`, or "
            f"leave the labels out. Received: model {model.name!r}, which was "
            "compiled without a loss and has no `compute_loss` of its own."
        )
    known = inspect.signature(model.compute_loss).parameters
    mode = {"training": training} if "training" in known else {}
    return model.compute_loss(
        x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **mode
    )
