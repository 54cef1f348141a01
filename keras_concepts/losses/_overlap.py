"""Losses that are a ratio of sums over many predictions."""

import abc
from typing import Any

from keras import ops

from keras_concepts._labels.predictions import probabilities
from keras_concepts._labels.targets import Targets
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice, checked_number
from keras_concepts.losses._class_loss import ClassLoss, Losses


def tversky_index(
    targets: Tensor,
    predictions: Tensor,
    weights: float | Tensor,
    alpha: float,
    beta: float,
    smooth: float,
    axis: tuple[int, ...],
) -> tuple[Tensor, Tensor]:
    """`(TP + s) / (TP + α FP + β FN + s)`, and which of the ratios count.

    Without smoothing, a ratio without a positive label does not count: it is 0
    for every prediction above 0, and has no gradient.
    """
    agreed = ops.sum(weights * targets * predictions, axis)
    false_positive = ops.sum(weights * (1.0 - targets) * predictions, axis)
    false_negative = ops.sum(weights * targets * (1.0 - predictions), axis)
    numerator = agreed + smooth
    denominator = numerator + alpha * false_positive + beta * false_negative
    empty = ops.equal(denominator, 0.0)
    safe = ops.where(empty, ops.ones_like(denominator), denominator)
    voters = ops.ones_like(targets) if smooth else targets
    counted = ops.sum(weights * voters, axis) > 0
    return numerator / safe, ops.cast(counted, targets.dtype)


class OverlapLoss(ClassLoss):
    """Base of the losses that are one minus a Tversky index."""

    def __init__(self, *, over: str, smooth: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        check_choice(owner, "over", over, ("batch", "sample"))
        self.over = over
        self.smooth = checked_number(owner, "smooth", smooth, low=0)

    @abc.abstractmethod
    def _costs(self) -> tuple[float, float]:
        """The cost of a false positive and of a false negative."""

    def _losses(self, batch: Targets, weights: Tensor | None) -> Losses:
        targets, y_pred, counted, _ = batch
        if self.from_logits:
            y_pred = probabilities(y_pred, binary=self.binary)
        by_sample = self.over == "sample"
        inner = tuple(range(by_sample, len(y_pred.shape) - 1))
        if not inner:
            raise ValueError(
                f"`{type(self).__name__}` has nothing to sum over: predictions "
                "need an axis besides the class "
                f"axis{' and the sample axis' if by_sample else ''}. "
                f"Received: over={self.over!r}, "
                f"y_pred.shape={tuple(y_pred.shape)}."
            )
        outside = None
        if by_sample and _is_one_per_sample(weights):
            outside, weights = ops.max(weights, inner), None
        inside = 1.0 if counted is None else counted
        if weights is not None:
            inside = inside * ops.expand_dims(weights, -1)
        index, present = tversky_index(
            targets, y_pred, inside, *self._costs(), self.smooth, inner
        )
        if not by_sample:
            return Losses(1.0 - index, present, None)
        classes = ops.sum(present, -1)
        losses = ops.sum((1.0 - index) * present, -1)
        losses = ops.divide_no_nan(losses, classes)
        return Losses(losses, ops.cast(classes > 0, losses.dtype), outside)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "over": self.over,
            "smooth": self.smooth,
        }


def _is_one_per_sample(weights: Tensor | None) -> bool:
    return weights is not None and all(n == 1 for n in weights.shape[1:])
