"""How well predictions agree with labels, whatever the loss."""

from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.instruments.data.rows import spread_rows
from keras_concepts.quantities import Quantity

# Minimum of answers of each kind in a column: with fewer, the rank is chance.
_FEWEST = 5
_MOST_COLUMNS = 64
_MOST_ROWS = 8192
# Entries of an output among which the nearest mean is searched.
_MOST_ENTRIES = 256


def agreement_rows(
    predicted: np.ndarray, target: np.ndarray, head: dict[str, Any]
) -> dict[Quantity, np.ndarray]:
    """Agreement of labels and predictions, class by class or number by number.

    Args:
        predicted: `(batch, ..., units)`.
        target: Labels of the same batch. If their shape does not show what an
            output predicts, nothing is measured.
        head: Facts of the output.
    """
    if target.dtype.kind not in "fiub" or not np.isfinite(predicted).all():
        return {}
    classes = class_numbers(predicted, target, head)
    if classes is not None:
        return _of_classes(predicted.reshape(-1, predicted.shape[-1]), classes)
    if predicted.ndim == target.ndim + 1 and predicted.shape[-1] == 1:
        target = target[..., None]
    if predicted.ndim < 2 or predicted.shape != target.shape:
        return {}
    found = _of_answers(predicted, target, head)
    return found | _of_numbers(predicted, target.astype(np.float64))


def class_numbers(
    predicted: np.ndarray, target: np.ndarray, head: dict[str, Any]
) -> np.ndarray | None:
    """The class of each sample, where an output has one unit for each class.

    For a user's own loss, whose labels may be anything, only if there are as
    many classes as units.
    """
    units = predicted.shape[-1]
    if predicted.ndim < 2 or units < 2 or not target.size:
        return None
    if target.size == predicted.size and target.shape[-1] == units:
        rows = target.reshape(-1, units)
        answers = (rows == 0) | (rows == 1)
        if not answers.all() or not (rows.sum(axis=-1) == 1).all():
            return None
        return rows.argmax(axis=-1)
    if target.size != predicted.size // units or head.get("kind") == "binary":
        return None
    numbers = target.ravel()
    if not np.isfinite(numbers).all() or (numbers != np.rint(numbers)).any():
        return None
    known = head.get("kind") == "multiclass"
    if known or (numbers.min() == 0 and numbers.max() == units - 1):
        return numbers.astype(np.int64)
    return None


def _of_classes(
    predicted: np.ndarray, classes: np.ndarray
) -> dict[Quantity, np.ndarray]:
    units = predicted.shape[-1]
    known = (classes >= 0) & (classes < units)
    predicted, classes = predicted[known], classes[known]
    if not len(classes):
        return {}
    count = np.bincount(classes, minlength=units)
    best = predicted.argmax(axis=-1)
    right = np.bincount(classes[best == classes], minlength=units)
    occur = count > 0
    found = {
        q.PROBE_CLASS_COUNT: count.astype(np.float64),
        q.PROBE_RECALL: right / np.maximum(count, 1),
        q.PROBE_BALANCED_ACCURACY: np.atleast_1d(
            np.mean(right[occur] / count[occur])
        ),
    }
    if units <= _MOST_ENTRIES:
        rows = spread_rows(len(classes), _MOST_ROWS)
        nearest = _nearest_mean(predicted[rows], classes[rows], units)
        found[q.PROBE_SEPARATION] = np.atleast_1d(nearest)
    return found


def _of_answers(
    predicted: np.ndarray, target: np.ndarray, head: dict[str, Any]
) -> dict[Quantity, np.ndarray]:
    """Recall of two classes that a single unit distinguishes."""
    if head.get("kind") != "binary" or predicted.shape[-1] != 1:
        return {}
    if not ((target == 0) | (target == 1)).all():
        return {}
    classes = target.ravel().astype(np.int64)
    best = predicted.ravel() > (0.0 if head.get("from_logits") else 0.5)
    count = np.bincount(classes, minlength=2)
    right = np.bincount(classes[best == classes], minlength=2)
    return {
        q.PROBE_CLASS_COUNT: count.astype(np.float64),
        q.PROBE_RECALL: right / np.maximum(count, 1),
    }


def _nearest_mean(
    predicted: np.ndarray, classes: np.ndarray, units: int
) -> float:
    """Mean over classes of how often their own mean is the nearest one."""
    count = np.bincount(classes, minlength=units)
    sums = np.zeros((len(count), predicted.shape[-1]))
    np.add.at(sums, classes, predicted)
    means = sums / np.maximum(count, 1)[:, None]
    distances = (
        (predicted**2).sum(axis=-1)[:, None]
        - 2.0 * predicted @ means.T
        + (means**2).sum(axis=-1)
    )
    distances[:, count == 0] = np.inf
    others = np.maximum(count[classes] - 1, 1)[:, None]
    own = (sums[classes] - predicted) / others
    rows = np.arange(len(classes))
    distances[rows, classes] = ((predicted - own) ** 2).sum(axis=-1)
    usable = count[classes] > 1
    right = (distances.argmin(axis=-1) == classes) & usable
    tried = count > 1
    if not tried.any():
        return 0.0
    hits = np.bincount(classes[right], minlength=len(count))
    return float(np.mean(hits[tried] / count[tried]))


def _of_numbers(
    predicted: np.ndarray, target: np.ndarray
) -> dict[Quantity, np.ndarray]:
    units = target.shape[-1]
    target, predicted = target.reshape(-1, units), predicted.reshape(-1, units)
    if not np.isfinite(target).all():
        return {}
    spread = target.var(axis=0).mean()
    if not spread > 0.0:
        return {}
    error = np.mean((predicted - target) ** 2)
    found = {q.PROBE_EXPLAINED: np.atleast_1d(1.0 - error / spread)}
    rows = spread_rows(len(target), _MOST_ROWS)
    target, predicted = target[rows], predicted[rows]
    ranks = [
        _rank_correlation(predicted[:, i], target[:, i])
        for i in range(0, units, -(-units // _MOST_COLUMNS))
    ]
    known = [each for each in ranks if each is not None]
    if known:
        found[q.PROBE_RANK_CORRELATION] = np.atleast_1d(np.mean(known))
    return found


def _rank_correlation(
    predicted: np.ndarray, target: np.ndarray
) -> float | None:
    """Spearman's correlation; for answers, twice the ROC area minus 1."""
    values = np.unique(target)
    if len(values) < 2 or not np.ptp(predicted) > 0.0:
        return None if len(values) < 2 else 0.0
    ranks = _ranks(predicted)
    if len(values) == 2:
        high = target == values[1]
        few, many = int(high.sum()), int((~high).sum())
        if min(few, many) < _FEWEST:
            return None
        area = (ranks[high].sum() - few * (few - 1) / 2) / (few * many)
        return float(2.0 * area - 1.0)
    return float(np.corrcoef(ranks, _ranks(target))[0, 1])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 0; the mean rank for equal values."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count) - 1
    return (last - (count - 1) / 2)[place.ravel()].astype(np.float64)
