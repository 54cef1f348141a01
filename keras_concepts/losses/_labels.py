"""Class labels of every usual shape, brought into one form."""

from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor

# Mixed labels that were computed in half precision overshoot 1 a little.
_ROUNDING = 0.01


def binary_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Labels and predictions with their questions on the last axis.

    Returns:
        `targets` and `y_pred` of one shape `(..., C)`, and which of the
        targets count, as floats of the same shape, or `None` for all.
    """
    y_true = ops.cast(y_true, y_pred.dtype)
    if len(y_pred.shape) == 1:
        y_pred = ops.expand_dims(y_pred, -1)
    if len(y_true.shape) == len(y_pred.shape) - 1 and y_pred.shape[axis] == 1:
        y_true = ops.expand_dims(y_true, axis)
    if not _fits(y_true.shape, y_pred.shape):
        raise ValueError(
            f"Binary labels of `{owner}` must have the shape of the "
            f"predictions. Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)}."
        )
    targets, y_pred = _last(y_true, axis), _last(y_pred, axis)
    targets, counted = _without(targets, ignore_class)
    targets = _in_range(owner, targets, 0, 1)
    return targets, y_pred, _as_floats(counted, y_pred)


def categorical_targets(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    ignore_class: int | None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Labels as distributions, and predictions, with classes on the last axis.

    Returns:
        `targets` and `y_pred` of one shape `(..., C)`, and which of the
        entries count, as floats of shape `(..., 1)`, or `None` for all.
    """
    y_pred_shape, y_true_shape = tuple(y_pred.shape), tuple(y_true.shape)
    y_pred = _last(y_pred, axis)
    classes = y_pred.shape[-1]
    if classes == 1:
        raise ValueError(
            f"Predictions of one class leave `{owner}` nothing to choose from: "
            "its softmax is always 1. Give `binary=True` for one sigmoid unit. "
            f"Received: y_pred.shape={y_pred_shape} with axis={axis}."
        )
    same_rank = len(y_true_shape) == len(y_pred_shape)
    if same_rank and y_true.shape[axis] == 1:
        y_true, same_rank = ops.squeeze(y_true, axis), False
    elif same_rank:
        y_true = _last(y_true, axis)
    if not _fits(
        y_true.shape, y_pred.shape if same_rank else y_pred.shape[:-1]
    ):
        raise ValueError(
            f"Labels of `{owner}` must be class numbers, without the axis of "
            "the classes or with a 1 there, or distributions of the shape of "
            f"the predictions. Received: y_true.shape={y_true_shape}, "
            f"y_pred.shape={y_pred_shape} with axis={axis}."
        )
    if same_rank and ignore_class is not None:
        raise ValueError(
            f"`ignore_class` of `{owner}` needs class numbers as labels. "
            f"Received: ignore_class={ignore_class!r} and "
            f"y_true.shape={y_true_shape}, y_pred.shape={y_pred_shape}."
        )
    if same_rank:
        targets = ops.cast(y_true, y_pred.dtype)
        return _in_range(owner, targets, 0, 1), y_pred, None
    numbers, counted = _without(ops.cast(y_true, "int32"), ignore_class)
    _check_range(owner, numbers, 0, classes - 1)
    numbers = ops.expand_dims(numbers, -1)
    targets = ops.cast(ops.equal(numbers, ops.arange(classes)), y_pred.dtype)
    targets = _nan_outside(numbers, 0, classes - 1, targets)
    if counted is not None:
        counted = ops.expand_dims(counted, -1)
    return targets, y_pred, _as_floats(counted, y_pred)


def aligned(owner: str, name: str, x: Tensor, entries: Any) -> Tensor:
    """`x` with axes of length 1 added or dropped at the end, to fit `entries`.

    Raises:
        ValueError: If `x` would have to be broadcast along an axis that is not
            one of its last.
    """
    shape, entries = tuple(x.shape), tuple(entries)
    while len(x.shape) > len(entries) and x.shape[-1] == 1:
        x = ops.squeeze(x, -1)
    given = len(x.shape)
    while len(x.shape) < len(entries):
        x = ops.expand_dims(x, -1)
    stretched = [
        entries[i] if size == 1 and 0 < i < len(entries) else size
        for i, size in enumerate(x.shape)
    ]
    if given and not _fits(stretched, entries):
        raise ValueError(
            f"`{name}` of `{owner}` must be a scalar or fit losses of shape "
            f"{entries} from the first axis on. Received: "
            f"{name}.shape={shape}."
        )
    return x


def _last(x: Tensor, axis: int) -> Tensor:
    return x if axis in (-1, len(x.shape) - 1) else ops.moveaxis(x, axis, -1)


def _fits(shape: Any, expected: Any) -> bool:
    """Whether the shapes are equal as far as they are known."""
    return len(shape) == len(expected) and all(
        a is None or b is None or a == b
        for a, b in zip(shape, expected, strict=True)
    )


def _without(
    labels: Tensor, ignore_class: int | None
) -> tuple[Tensor, Tensor | None]:
    if ignore_class is None:
        return labels, None
    counted = ops.not_equal(labels, ops.cast(ignore_class, labels.dtype))
    return ops.where(counted, labels, ops.zeros_like(labels)), counted


def _as_floats(counted: Tensor | None, like: Tensor) -> Tensor | None:
    return None if counted is None else ops.cast(counted, like.dtype)


def _in_range(owner: str, targets: Tensor, low: int, high: int) -> Tensor:
    _check_range(owner, targets, low - _ROUNDING, high + _ROUNDING)
    return _nan_outside(targets, low - _ROUNDING, high + _ROUNDING, targets)


def _check_range(owner: str, labels: Tensor, low: float, high: float) -> None:
    values = _backend.known_value(labels)
    if values is None or not values.size:
        return
    lowest, highest = values.min(), values.max()
    if not (low <= lowest and highest <= high):
        raise ValueError(
            f"Labels of `{owner}` must lie between {round(low)} and "
            f"{round(high)}. Received: labels from {lowest} to {highest}."
        )


def _nan_outside(
    labels: Tensor, low: float, high: float, targets: Tensor
) -> Tensor:
    # A compiled step cannot raise. NaN is seen; a loss of 0 is not.
    inside = ops.logical_and(labels >= low, labels <= high)
    return ops.where(inside, targets, ops.full_like(targets, float("nan")))
