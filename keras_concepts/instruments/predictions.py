"""A model's predictions for a probe, in a few numbers."""

from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.instruments.agreement import agreement_rows, class_numbers
from keras_concepts.quantities import Quantity

_NEAR = 1e-3  # as a share of the largest weight


# Infinite predictions of a diverging run give NaN.
@np.errstate(invalid="ignore", over="ignore", divide="ignore")
def prediction_rows(
    predicted: np.ndarray,
    target: np.ndarray | None,
    head: dict[str, Any],
    mask: np.ndarray | None = None,
) -> dict[Quantity, np.ndarray]:
    """A few numbers about predictions.

    Args:
        predicted: `(batch, ..., units)`.
        target: Labels of the same batch, or `None`.
        head: Facts of the output.
        mask: Which entries count in the loss, or `None`. Classes and the
            agreement with labels are those of these entries.
    """
    if predicted.ndim == 0 or not predicted.size:
        return {}
    predicted = predicted.astype(np.float64)
    entries = predicted.reshape(len(predicted), -1)
    rows = {
        q.PREDICTION_MEAN: entries.mean(),
        q.PREDICTION_STD: entries.std(),
        q.PREDICTION_SPREAD: np.sqrt(np.mean(entries.var(axis=0))),
        q.PREDICTION_MIN: entries.min(),
        q.PREDICTION_MAX: entries.max(),
    }
    found = {name: np.atleast_1d(value) for name, value in rows.items()}
    if predicted.ndim > 1 and predicted.shape[-1] > 1:
        off = np.abs(predicted.sum(axis=-1) - 1.0).max()
        found[q.PREDICTION_SUM_ERROR] = np.atleast_1d(off)
    if mask is not None:
        predicted, target = _counted(predicted, target, mask)
        if not predicted.size:
            return found
    found |= _class_rows(predicted, target, head)
    if target is not None:
        found |= agreement_rows(predicted, target, head)
    return found


def _counted(
    predicted: np.ndarray, target: np.ndarray | None, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Predictions and labels of the entries that count; all if none fits."""
    axes, mask = mask.ndim, mask.astype(bool)
    if axes >= predicted.ndim or predicted.shape[:axes] != mask.shape:
        return predicted, target
    if target is not None:
        if target.shape[:axes] != mask.shape:
            return predicted, target
        target = target[mask]
    return predicted[mask], target


def _class_rows(
    predicted: np.ndarray, target: np.ndarray | None, head: dict[str, Any]
) -> dict[Quantity, np.ndarray]:
    kind, units = head.get("kind"), predicted.shape[-1]
    if kind == "multiclass" and predicted.ndim > 1 and units > 1:
        classes = predicted.argmax(axis=-1).ravel()
        count = units
    elif kind == "binary" and units == 1:
        limit = 0.0 if head.get("from_logits") else 0.5
        classes, count = (predicted > limit).astype(int).ravel(), 2
    else:
        return _accuracy_of_answers(predicted, target, head)
    shares = np.bincount(classes, minlength=count) / len(classes)
    found: dict[Quantity, np.ndarray] = {q.PREDICTED_SHARE: shares}
    labels = None if target is None else _classes(target, len(classes), units)
    if labels is not None:
        right = float(np.mean(labels == classes))
        found[q.PROBE_ACCURACY] = np.atleast_1d(right)
    return found


def _accuracy_of_answers(
    predicted: np.ndarray, target: np.ndarray | None, head: dict[str, Any]
) -> dict[Quantity, np.ndarray]:
    """Accuracy for one class per sample, and for an answer per class."""
    if target is None or head.get("kind") != "binary":
        return {}
    labels = class_numbers(predicted, target, head)
    if labels is None:
        return {}
    right = float(np.mean(predicted.argmax(axis=-1).ravel() == labels))
    return {q.PROBE_ACCURACY: np.atleast_1d(right)}


def _classes(target: np.ndarray, count: int, units: int) -> np.ndarray | None:
    """The class of each sample, from numbers or one-hot rows."""
    if target.size == count:
        return target.ravel()
    if target.size == count * units:
        return target.reshape(count, units).argmax(axis=-1)
    return None


def equal_columns(kernel: np.ndarray) -> float:
    """Share of the units, along the last axis, that equal the first one.

    The share is among the other units; 0 for a kernel with one unit. Weights
    count as equal if they differ by less than a thousandth of the largest,
    since rounding separates equal ones.
    """
    columns = kernel.reshape(-1, kernel.shape[-1])
    if columns.shape[1] < 2:
        return 0.0
    apart = np.abs(columns[:, 1:] - columns[:, :1])
    near = apart <= _NEAR * np.abs(columns).max()
    return float(near.all(axis=0).mean())
