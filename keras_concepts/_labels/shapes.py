"""What shapes show about labels and predictions."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
from keras import ops

from keras_concepts._types import Tensor

Shape: TypeAlias = Sequence[int | None]
# One class number per row, or one label per class.
Form: TypeAlias = Literal["sparse", "dense"]


class Matched(NamedTuple):
    """Labels and predictions of the same rows, with the classes last.

    Attributes:
        labels: Class numbers, `(..., 1)`, if `form` is `"sparse"`; one label
            per class, `(..., C)`, if it is `"dense"`.
        predictions: `(..., C)`.
        form: Of the labels.
    """

    labels: Tensor
    predictions: Tensor
    form: Form


def match(
    owner: str,
    y_true: Tensor,
    y_pred: Tensor,
    axis: int,
    *,
    wanted: Form | Literal["auto"],
    options: str = "",
) -> Matched:
    """Brings labels of every usual shape to the rank of the predictions.

    Dimensions that TensorFlow does not know inside a graph are checked when the
    graph runs: labels are reshaped there, and never broadcast.

    Args:
        owner: Name of the loss or metric, for error messages.
        y_true: Labels.
        y_pred: Predictions, with a class axis.
        axis: Axis of the classes in `y_pred`, and in labels of its rank.
        wanted: Form that the labels must have, or `"auto"` for either.
        options: Additional text on what was received, for error messages.

    Raises:
        ValueError: If the labels have another shape, or their form depends on
            an unknown length.
    """
    check_axis(owner, y_pred, axis)
    if y_pred.shape[axis] is None:
        raise ValueError(
            f"`{owner}` needs a known number of classes. Received: y_pred of "
            f"shape {tuple(y_pred.shape)} and axis={axis}."
        )
    predictions, labels = classes_last(y_pred, axis), y_true
    known = has_rank(labels)
    if known and len(labels.shape) == len(predictions.shape):
        labels = classes_last(labels, axis)
    classes = predictions.shape[-1]
    form = "dense" if classes == 1 else "unknown"
    if known:
        form = form_of(labels.shape, predictions.shape)
    given = shape_of(y_true)
    received = (
        f"Received: y_true.shape={given}, "
        f"y_pred.shape={tuple(y_pred.shape)} with axis={axis}{options}."
    )
    if form == "unknown" and wanted == "auto":
        raise ValueError(
            f"`{owner}` cannot tell from a shape that is not fully known "
            "whether labels are class numbers or one label per class. Pass "
            '`labels="sparse"` for class numbers or `labels="dense"` for '
            f"one-hot, multi-hot or soft labels. {received}"
        )
    if form == "unknown":
        form = "sparse" if wanted == "sparse" else "dense"
    if form is None or wanted not in (form, "auto"):
        expected = _expected(y_pred.shape, axis, wanted)
        raise ValueError(f"Labels of `{owner}` must {expected}. {received}")
    if None in (*(given or (None,)), *y_pred.shape):
        if form == "sparse":
            rows = ops.shape(predictions)[:-1]
            labels = reshaped(owner, labels, (*rows, 1))
        elif known:
            labels = reshaped(owner, labels, ops.shape(predictions))
        else:
            labels = reshaped(owner, labels, ops.shape(y_pred))
            labels = classes_last(labels, axis)
    elif len(labels.shape) < len(predictions.shape):
        labels = labels[..., None]
    return Matched(labels, predictions, form)


def has_rank(tensor: Tensor) -> bool:
    """Whether the number of axes is known. TensorFlow may not know it."""
    return getattr(tensor.shape, "rank", 0) is not None


def shape_of(tensor: Tensor) -> tuple[int | None, ...] | None:
    """A shape, for error messages; `None` if not even the rank is known."""
    return tuple(tensor.shape) if has_rank(tensor) else None


def reshaped(
    owner: str, tensor: Tensor, shape: tuple[Any, ...], name: str = "labels"
) -> Tensor:
    """Labels or weights in a shape that may be known at run time only.

    If they have another number of entries, an operation then fails whose name
    says what was expected.
    """
    with keras.name_scope(f"{name}_of_{owner}_must_fit_the_predictions"):
        return ops.reshape(tensor, shape)


def form_of(
    labels: Shape, predictions: Shape
) -> Form | Literal["unknown"] | None:
    """The form of labels for predictions, both with the classes last.

    With one class, labels are dense. `"unknown"` if this depends on an unknown
    length, `None` if they do not fit.
    """
    *rows, classes = predictions
    if fits(labels, predictions):
        if classes == 1 or labels[-1] is not None:
            return "dense"
        return "unknown"
    if fits(labels, rows) or (fits(labels, [*rows, 1]) and labels[-1] == 1):
        return "dense" if classes == 1 else "sparse"
    return None


def fits(given: Shape, wanted: Shape) -> bool:
    """Whether two shapes are equal as far as they are known."""
    return len(given) == len(wanted) and all(
        None in sizes or sizes[0] == sizes[1]
        for sizes in zip(given, wanted, strict=True)
    )


def classes_last(tensor: Tensor, axis: int) -> Tensor:
    """A tensor with the class axis at the end."""
    if axis in (-1, len(tensor.shape) - 1):
        return tensor
    return ops.moveaxis(tensor, axis, -1)


def check_axes(owner: str, y_pred: Tensor) -> None:
    """Raises unless predictions have at least one axis, and a known number."""
    if not has_rank(y_pred) or len(y_pred.shape) == 0:
        raise ValueError(
            f"Predictions of `{owner}` must have at least one axis, and the "
            "number of their axes must be known. "
            f"Received: y_pred.shape={shape_of(y_pred)}."
        )


def check_axis(owner: str, y_pred: Tensor, axis: int) -> None:
    """Raises unless predictions have an axis of this number, of some length."""
    axes = len(y_pred.shape)
    if not -axes <= axis < axes:
        raise ValueError(
            f"`axis` of `{owner}` must be an axis of the predictions, which "
            f"have {axes}. Received: axis={axis} and y_pred.shape="
            f"{tuple(y_pred.shape)}."
        )
    if y_pred.shape[axis] == 0:
        raise ValueError(
            f"Predictions of `{owner}` must have at least one class. Received: "
            f"y_pred.shape={tuple(y_pred.shape)} and axis={axis}."
        )


def with_class_axis(owner: str, y_pred: Tensor) -> Tensor:
    """Predictions of one number per row, `(n,)`, as one column, `(n, 1)`."""
    check_axes(owner, y_pred)
    return ops.expand_dims(y_pred, -1) if len(y_pred.shape) == 1 else y_pred


def _expected(shape: Shape, axis: int, wanted: str) -> str:
    """What labels for predictions of a shape must be, for an error message."""
    full, single = tuple(shape), list(shape)
    single[axis] = 1
    without = tuple(single[:axis] + single[axis:][1:])
    numbers = f"be class numbers, of shape {without} or {tuple(single)}"
    dense = f"have the shape of the predictions, {full}"
    if shape[axis] == 1:
        return f"{dense} or {without}"
    choices = {"sparse": numbers, "dense": dense}
    return choices.get(wanted, f"{numbers}, or {dense}")
