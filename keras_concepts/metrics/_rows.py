"""Batches as rows: labels, scores and weights of every entry."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.metrics._class_amounts import (
    NOWHERE,
    Classes,
    Columns,
    Indices,
    cast,
    dtype_of,
    product,
)


class Rows(NamedTuple):
    """A batch as rows.

    Attributes:
        labels: What is true.
        scores: `(rows, classes)`: what the model put out.
        weights: `(rows, 1)`, float32, or int32 zeros and ones, or `None`.
    """

    labels: Classes
    scores: Tensor
    weights: Tensor | None

    def weighted(self, classes: Classes) -> Classes:
        """Amounts times the weights of their rows."""
        return classes if self.weights is None else classes.scaled(self.weights)


def read_rows(
    owner: str,
    y_true: Any,
    y_pred: Any,
    sample_weight: Any,
    mask: Tensor | None,
    *,
    labels: str,
    axis: int,
    ignore_class: int | None,
) -> Rows:
    """Makes rows of a batch.

    Args:
        owner: Name of the metric, for error messages.
        y_true: Labels.
        y_pred: Predictions.
        sample_weight: Weights, or `None`.
        mask: Whether each row counts, or `None`.
        labels: `"sparse"`, `"dense"` or `"auto"`.
        axis: Axis of the classes in `y_pred`, and in dense labels.
        ignore_class: Rows with this label weigh nothing.

    Raises:
        ValueError: If shapes do not fit each other.
    """
    y_true = ops.convert_to_tensor(y_true)
    scores = as_float(y_pred)
    if len(scores.shape) == 1:
        scores = scores[:, None]
    scores = _classes_last(scores, axis)
    num_classes = scores.shape[-1]
    if num_classes is None:
        raise ValueError(
            f"`{owner}` must know the number of classes. Received: y_pred of "
            f"shape {tuple(y_pred.shape)} and axis={axis}."
        )
    if len(y_true.shape) == len(scores.shape):
        y_true = _classes_last(y_true, axis)
    sparse = _is_sparse(owner, labels, y_true, scores)
    y_true = _flat(y_true, 1 if sparse else num_classes)
    true: Classes
    if sparse:
        y_true = cast(y_true, "int32")
        known = y_true < num_classes
        true = Indices(ops.where(known, y_true, NOWHERE), num_classes)
    else:
        true = Columns(ops.cast(y_true, _amount_dtype(y_true)))

    factors = []
    if mask is not None:
        factors.append(_row_factors(owner, "mask", mask, "int32", scores))
    if ignore_class is not None:
        ignored = _ignored(owner, ignore_class, y_true, num_classes, sparse)
        factors.append(ops.cast(ops.logical_not(ignored), "int32"))
    if sample_weight is not None:
        factors.append(
            _row_factors(
                owner, "sample_weight", sample_weight, "float32", scores
            )
        )
    weights = functools.reduce(product, factors) if factors else None
    return Rows(true, _flat(scores, num_classes), weights)


def choose_classes(
    scores: Tensor,
    *,
    threshold: float | Sequence[float] | None,
    top_k: int | None,
    from_logits: bool,
) -> Classes:
    """The classes that scores predict.

    With neither threshold nor `top_k` that is the first of the largest scores,
    and for a single column a probability above 0.5. A threshold is always a
    probability: with `from_logits`, scores are compared with its logit.
    """
    num_classes = scores.shape[-1]
    if threshold is None and num_classes == 1:
        threshold = 0.5
    chosen = None
    if threshold is not None:
        chosen = above(scores, threshold, from_logits=from_logits)
        if top_k is None:
            return chosen
    if top_k in (None, 1):
        numbers = _backend.argmax(scores)[:, None]
    else:
        numbers = ops.top_k(scores, top_k)[1]
    numbers = cast(numbers, "int32")
    amounts = None if chosen is None else chosen.at(numbers)
    return Indices(numbers, num_classes, amounts)


def above(scores: Tensor, thresholds: Any, *, from_logits: bool) -> Columns:
    """Whether scores are above thresholds, which are probabilities."""
    limits = ops.convert_to_tensor(thresholds, "float32")
    if from_logits:
        limits = ops.log(limits) - ops.log1p(-limits)
    return Columns(ops.cast(ops.cast(scores, "float32") > limits, "int32"))


def probabilities(scores: Tensor, *, from_logits: bool) -> Tensor:
    """Scores as float32 probabilities."""
    scores = ops.cast(scores, "float32")
    if not from_logits:
        return scores
    if scores.shape[1] == 1:
        return ops.sigmoid(scores)
    return ops.softmax(scores)


def as_float(tensor: Any) -> Tensor:
    """A tensor of at most 32 bits a float."""
    tensor = ops.convert_to_tensor(tensor)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    small = dtype in ("float16", "bfloat16", "float32")
    return tensor if small else ops.cast(tensor, "float32")


def _flat(tensor: Tensor, columns: int) -> Tensor:
    """With all axes but the last in one."""
    if len(tensor.shape) == 2 and tensor.shape[1] == columns:
        return tensor
    if len(tensor.shape) == 1 and columns == 1:
        return tensor[:, None]
    return ops.reshape(tensor, (-1, columns))


def _classes_last(tensor: Tensor, axis: int) -> Tensor:
    if axis in (-1, len(tensor.shape) - 1):
        return tensor
    return ops.moveaxis(tensor, axis, -1)


def _amount_dtype(labels: Tensor) -> str:
    """Integers are counted exactly; only soft labels need fractions."""
    floats = keras.backend.is_float_dtype(dtype_of(labels))
    return "float32" if floats else "int32"


def _is_sparse(owner: str, labels: str, y_true: Tensor, scores: Tensor) -> bool:
    """Whether labels are class numbers."""
    *shape, num_classes = scores.shape
    given = tuple(y_true.shape)
    one_each = _fits(given, shape) or (
        _fits(given, [*shape, 1]) and given[-1] == 1
    )
    if num_classes == 1:
        sparse, dense = False, one_each
    else:
        sparse, dense = one_each, _fits(given, scores.shape) and not one_each
    if (sparse and labels != "dense") or (dense and labels != "sparse"):
        return sparse
    raise ValueError(
        f"`{owner}` cannot match labels of shape {given} with predictions of "
        f"shape {tuple(scores.shape)} (classes last) and labels={labels!r}. "
        f"Expected class numbers of shape {tuple(shape)} or {(*shape, 1)}, or "
        f"a label for each class, of shape {tuple(scores.shape)}."
    )


def _fits(given: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether two shapes may be the same at run time."""
    return len(given) == len(wanted) and all(
        None in sizes or sizes[0] == sizes[1]
        for sizes in zip(given, wanted, strict=True)
    )


def _ignored(
    owner: str,
    ignore_class: int,
    y_true: Tensor,
    num_classes: int,
    sparse: bool,
) -> Tensor:
    """Which rows have the label to be ignored, `(rows, 1)`."""
    if sparse or num_classes == 1:
        return y_true == ignore_class
    if 0 <= ignore_class < num_classes:
        return ops.cast(y_true, "float32")[:, ignore_class, None] > 0.5
    raise ValueError(
        f"`ignore_class` of `{owner}` must be one of the {num_classes} classes "
        "where each class has a label of its own. Received: "
        f"ignore_class={ignore_class!r}."
    )


def _row_factors(
    owner: str, name: str, factors: Any, dtype: str, scores: Tensor
) -> Tensor:
    """One factor a row, `(rows, 1)`, from the shape that a user gives."""
    factors = ops.cast(ops.convert_to_tensor(factors), dtype)
    wanted = scores.shape[:-1]
    given = tuple(factors.shape)
    if len(given) == len(wanted) + 1 and given[-1] == 1:
        factors = ops.squeeze(factors, -1)
    missing = len(wanted) - len(factors.shape)
    if missing < 0 or any(
        size != 1 and not _fits([size], [rows])
        for size, rows in zip(factors.shape, wanted, strict=False)
    ):
        raise ValueError(
            f"`{name}` for `{owner}` must have the shape of the predictions "
            f"without classes, {tuple(wanted)}, or its first axes. Received: "
            f"{name} of shape {given}."
        )
    for _ in range(missing):
        factors = factors[..., None]
    rows = ops.broadcast_to(factors, ops.shape(scores)[:-1])
    return _flat(rows, 1)
