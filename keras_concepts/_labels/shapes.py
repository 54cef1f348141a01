"""What shapes say about labels and predictions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

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

    Args:
        owner: Name of the loss or metric, for error messages.
        y_true: Labels.
        y_pred: Predictions, with an axis of classes.
        axis: Axis of the classes in `y_pred`, and in labels of its rank.
        wanted: Form that the labels must have, or `"auto"` for either.
        options: What else error messages say was received.

    Raises:
        ValueError: If the labels are of another shape.
    """
    predictions, labels = classes_last(y_pred, axis), y_true
    if len(labels.shape) == len(predictions.shape):
        labels = classes_last(labels, axis)
    form = form_of(labels.shape, predictions.shape)
    if form is None or wanted not in (form, "auto"):
        expected = _expected(y_pred.shape, axis, wanted)
        raise ValueError(
            f"Labels of `{owner}` must {expected}. "
            f"Received: y_true.shape={tuple(y_true.shape)}, "
            f"y_pred.shape={tuple(y_pred.shape)} with axis={axis}{options}."
        )
    if len(labels.shape) < len(predictions.shape):
        labels = labels[..., None]
    return Matched(labels, predictions, form)


def form_of(labels: Shape, predictions: Shape) -> Form | None:
    """The form of labels for predictions, both with the classes last.

    Of one class, labels are dense. `None` if they do not fit.
    """
    *rows, classes = predictions
    if fits(labels, rows) or (fits(labels, [*rows, 1]) and labels[-1] == 1):
        return "dense" if classes == 1 else "sparse"
    return "dense" if fits(labels, predictions) else None


def fits(given: Shape, wanted: Shape) -> bool:
    """Whether two shapes are equal as far as they are known."""
    return len(given) == len(wanted) and all(
        None in sizes or sizes[0] == sizes[1]
        for sizes in zip(given, wanted, strict=True)
    )


def classes_last(tensor: Tensor, axis: int) -> Tensor:
    """A tensor with the axis of the classes at the end."""
    if axis in (-1, len(tensor.shape) - 1):
        return tensor
    return ops.moveaxis(tensor, axis, -1)


def with_class_axis(y_pred: Tensor) -> Tensor:
    """Predictions of one number per row, `(n,)`, as one column, `(n, 1)`."""
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
