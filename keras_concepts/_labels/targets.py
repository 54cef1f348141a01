"""Class labels as targets of a loss: probabilities from 0 to 1."""

from __future__ import annotations

from typing import Literal, NamedTuple

from keras import ops

from keras_concepts._labels.ignored import differs
from keras_concepts._labels.ranges import as_labels, misnumbered, not_shares
from keras_concepts._labels.shapes import (
    check_axes,
    check_axis,
    match,
    shape_of,
    with_class_axis,
)
from keras_concepts._types import Tensor


class Targets(NamedTuple):
    """Labels as probabilities, together with the predictions.

    Attributes:
        targets: `(..., C)`.
        y_pred: `(..., C)`.
        counted: Which of the targets count, floats of 0 and 1 that can be
            broadcast to `(..., C)`, or `None` for all.
        numbers: The class numbers that the targets were made of, `(..., 1)`,
            or `None`.
    """

    targets: Tensor
    y_pred: Tensor
    counted: Tensor | None
    numbers: Tensor | None = None

    def checked(self, owner: str, counted: Tensor | None) -> Targets:
        """The same, with NaN targets for impossible labels.

        Args:
            owner: Name of the loss, for error messages.
            counted: Which of the targets count, masks and weights included.

        Raises:
            ValueError: If there are such labels and they can be read.
        """
        targets = self.targets
        if self.numbers is not None:
            classes = targets.shape[-1]
            bad = misnumbered(owner, self.numbers, classes, counted)
        else:
            bad = not_shares(owner, targets, counted)
            if counted is not None:
                targets = ops.where(counted != 0, targets, 0)
        if bad is None:
            return self._replace(targets=targets)
        # A compiled step cannot raise. A NaN is noticed, a loss of 0 is not.
        nan = ops.full_like(targets, float("nan"))
        return self._replace(targets=ops.where(bad, nan, targets))


def binary_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: float | None,
) -> Targets:
    """Targets of questions, one for each class, that are answered alone."""
    labels, y_pred, _ = match(
        owner,
        as_labels(owner, y_true),
        with_class_axis(owner, y_pred),
        axis,
        wanted="dense",
        options=" and binary=True",
    )
    labels, y_pred, counted = _without(labels, ignore_class, y_pred)
    return Targets(ops.cast(labels, y_pred.dtype), y_pred, counted)


def categorical_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: float | None,
    wanted: Literal["auto", "sparse", "dense"] = "auto",
) -> Targets:
    """Targets of one class out of several."""
    check_axes(owner, y_pred)
    check_axis(owner, y_pred, axis)
    y_true = as_labels(owner, y_true)
    given = (
        f"y_true.shape={shape_of(y_true)}, "
        f"y_pred.shape={tuple(y_pred.shape)} with axis={axis}"
    )
    if y_pred.shape[axis] == 1:
        raise ValueError(
            f"Predictions of one class leave `{owner}` nothing to choose from: "
            "its softmax is always 1. Pass `binary=True` for one sigmoid unit. "
            f"Received: {given}."
        )
    labels, y_pred, form = match(
        owner,
        y_true,
        y_pred,
        axis,
        wanted=wanted,
        options=f" and labels={wanted!r}",
    )
    if form == "dense":
        if ignore_class is not None:
            raise ValueError(
                f"`ignore_class` of `{owner}` needs class numbers as labels, "
                "or `binary=True`. "
                f"Received: ignore_class={ignore_class!r}, {given}."
            )
        return Targets(ops.cast(labels, y_pred.dtype), y_pred, None)
    numbers, y_pred, counted = _without(labels, ignore_class, y_pred)
    classes = ops.cast(ops.arange(y_pred.shape[-1]), numbers.dtype)
    one_hot = ops.cast(ops.equal(numbers, classes), y_pred.dtype)
    return Targets(one_hot, y_pred, counted, numbers)


def _without(
    labels: Tensor, ignore_class: float | None, y_pred: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Labels with 0 for those to be ignored, and which count, as floats."""
    if ignore_class is None:
        return labels, y_pred, None
    counted = differs(labels, ignore_class)
    labels = ops.where(counted, labels, ops.zeros_like(labels))
    return labels, y_pred, ops.cast(counted, y_pred.dtype)
