"""Class labels as targets of a loss: probabilities from 0 to 1."""

from typing import NamedTuple

from keras import ops

from keras_concepts._labels.ignored import differs
from keras_concepts._labels.ranges import checked_numbers, checked_shares
from keras_concepts._labels.shapes import match, with_class_axis
from keras_concepts._types import Tensor


class Targets(NamedTuple):
    """Labels as probabilities, beside the predictions.

    Attributes:
        targets: `(..., C)`.
        y_pred: `(..., C)`.
        counted: Which of the targets count, floats of 0 and 1 that can be
            broadcast to `(..., C)`, or `None` for all.
    """

    targets: Tensor
    y_pred: Tensor
    counted: Tensor | None


def binary_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: int | None,
) -> Targets:
    """Targets of questions, one for each class, that are answered alone."""
    labels, y_pred, _ = match(
        owner,
        y_true,
        with_class_axis(y_pred),
        axis,
        wanted="dense",
        options=" and binary=True",
    )
    labels = ops.cast(labels, y_pred.dtype)
    labels, counted = _without(labels, ignore_class, y_pred)
    return Targets(checked_shares(owner, labels), y_pred, counted)


def categorical_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: int | None,
) -> Targets:
    """Targets of one class out of several."""
    given = (
        f"y_true.shape={tuple(y_true.shape)}, "
        f"y_pred.shape={tuple(y_pred.shape)} with axis={axis}"
    )
    if y_pred.shape[axis] == 1:
        raise ValueError(
            f"Predictions of one class leave `{owner}` nothing to choose from: "
            "its softmax is always 1. Pass `binary=True` for one sigmoid unit. "
            f"Received: {given}."
        )
    labels, y_pred, form = match(owner, y_true, y_pred, axis, wanted="auto")
    if form == "dense":
        if ignore_class is not None:
            raise ValueError(
                f"`ignore_class` of `{owner}` needs class numbers as labels. "
                f"Received: ignore_class={ignore_class!r}, {given}."
            )
        labels = ops.cast(labels, y_pred.dtype)
        return Targets(checked_shares(owner, labels), y_pred, None)
    numbers = ops.cast(labels, "int32")
    numbers, counted = _without(numbers, ignore_class, y_pred)
    classes = y_pred.shape[-1]
    one_hot = ops.cast(ops.equal(numbers, ops.arange(classes)), y_pred.dtype)
    targets = checked_numbers(owner, numbers, classes, one_hot)
    return Targets(targets, y_pred, counted)


def _without(
    labels: Tensor, ignore_class: int | None, like: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Labels with 0 for those to be ignored, and which count, as floats."""
    if ignore_class is None:
        return labels, None
    counted = differs(labels, ignore_class)
    labels = ops.where(counted, labels, ops.zeros_like(labels))
    return labels, ops.cast(counted, like.dtype)
