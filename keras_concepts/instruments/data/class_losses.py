"""Losses of constant predictions where each entry has one class."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts.instruments.data.constant_predictions import (
    SMALLEST,
    ConstantPredictions,
)
from keras_concepts.instruments.data.prediction_losses import (
    losses_of,
    reduction,
    smallest,
)

# Most entries of the predictions if there is one row per class.
_MOST_OF_CLASSES = 8_000_000
# Losses whose value for a constant has a closed form.
_CLOSED = {"CategoricalCrossentropy", "SparseCategoricalCrossentropy"}
# Standard error of the estimate for classes that were not seen, relative to the
# estimate. Source: tried on words drawn by Zipf's law, a fifth of them seen.
_ROUGH = 0.25


class ConstantLosses(NamedTuple):
    """Losses of predictions that ignore the inputs.

    Attributes:
        best: Of the best constant prediction; `None` if not known.
        uniform: Of a uniform one; `None` if labels are not classes either.
        error: Standard error of `best` as an estimate for all rows; 0 if all
            were read, or if it is not known.
        spread: Standard deviation over the rows of their loss; `None` if it is
            not known.
    """

    best: float | None
    uniform: float | None
    error: float = 0.0
    spread: float | None = None


UNKNOWN = ConstantLosses(None, None)


class ClassLosses(ConstantPredictions):
    """Constant predictions for entries with one class each.

    Attributes:
        entries: Entries with a label that counts.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        y, units = self._y, self._shape[-1]
        if self._form == "one_hot":
            if y.shape != self._shape:
                raise ValueError("one-hot labels without the output's shape")
            y = y.argmax(axis=-1)
        elif y.size != math.prod(self._shape[:-1]):
            raise ValueError("more or fewer labels than entries")
        y = y.reshape(-1) if y.size == len(y) else y
        flat, weight = y.reshape(-1), self._weights(y.shape).reshape(-1)
        keep = np.ones(len(flat), bool)
        ignored = self._loss.ignore_class
        if ignored is not None and self._form == "sparse":
            keep = ~np.isnan(flat) if ignored != ignored else flat != ignored
        if not np.isfinite(flat[keep]).all():
            raise ValueError("labels that are not finite")
        numbers = flat[keep].astype("int64")
        if not len(numbers) or numbers.max() >= units or numbers.max() < 0:
            raise ValueError("no class, or one without a unit")
        # Negative numbers have no class, but some losses count them.
        numbers = np.maximum(numbers, -1) + 1
        self.entries = len(numbers)
        self._keep, self._places = keep, numbers
        self._counts = np.bincount(numbers, minlength=units + 1)
        self._sums = np.bincount(numbers, weight[keep], minlength=units + 1)

    def _shares(self) -> np.ndarray:
        return self._sums[1:] / self._sums[1:].sum()

    def losses(self, scale: float, unread: float) -> ConstantLosses:
        """All losses.

        Args:
            scale: What a mean over the entries is multiplied by.
            unread: Share of all rows that were not read.
        """
        occur = np.flatnonzero(self._counts)
        units = self._shape[-1]
        uniform, best = list(self.uniform()), list(self.best())
        if len(occur) * units <= _MOST_OF_CLASSES:
            losses = self._by_class(occur, [*uniform, *best])
        elif self._loss.name in _CLOSED and not self._loss.label_smoothing:
            losses = [self._closed(each) for each in [*uniform, *best]]
        else:
            return UNKNOWN
        found = smallest(losses, scale)
        if found is None:
            return UNKNOWN
        smallest_uniform = smallest(losses[: len(uniform)], scale)
        if "Cross" not in self._loss.name:
            return ConstantLosses(found, smallest_uniform)
        scale *= float(self._sums.sum()) / self._divisor()  # mean weight
        more = unread * _unseen_entropy(self._counts[1:]) if unread else 0.0
        spread = self._spread()
        error = math.sqrt(unread / len(self._y)) * spread + _ROUGH * more
        return ConstantLosses(
            found + scale * more, smallest_uniform, scale * error, spread
        )

    def _by_class(
        self, occur: np.ndarray, predictions: Sequence[np.ndarray]
    ) -> list[float]:
        """Means over the entries, from one row per class."""
        units, count = self._shape[-1], len(occur)
        labels = occur - 1
        if self._form == "one_hot":
            labels = np.eye(units, dtype="float32")[labels]
        weight = self._sums[occur] * count / self.entries
        losses = losses_of(
            self._loss,
            labels,
            predictions,
            (count, units),
            weight.astype("float32"),
        )
        is_sum = reduction(self._loss) == "sum"
        return [each / count if is_sum else each for each in losses]

    def _closed(self, prediction: np.ndarray) -> float:
        """The same for cross-entropies, without a row per class."""
        shares = np.exp(prediction) if self._loss.from_logits else prediction
        bits = -np.log(np.clip(shares / shares.sum(), SMALLEST, 1.0))
        return float(self._sums[1:] @ bits / self._divisor())

    def _divisor(self) -> float:
        """What the sum over the entries is divided by in their mean."""
        by_weight = reduction(self._loss) == "mean_with_sample_weight"
        return float(self._sums.sum()) if by_weight else self.entries

    def _spread(self) -> float:
        """Standard deviation of the mean surprise in a row."""
        counts = self._counts[1:]
        shares = np.clip(counts / max(counts.sum(), 1), SMALLEST, 1.0)
        bits = np.zeros(self._keep.shape)
        bits[self._keep] = -np.log(np.append(1.0, shares))[self._places]
        rows = len(self._y)
        sums = bits.reshape(rows, -1).sum(axis=1)
        held = self._keep.reshape(rows, -1).sum(axis=1)
        mean = sums.sum() / self.entries
        spread = np.square(sums - mean * held).mean() ** 0.5
        return float(spread / held.mean())


def _unseen_entropy(counts: np.ndarray) -> float:
    """How much lower the entropy of what was seen is than the true one.

    Chao and Shen: shares shrink by the share of all classes that were seen, and
    each term is divided by the probability that its class is seen.
    """
    counts = counts[counts > 0].astype("float64")
    total, once = counts.sum(), float((counts == 1).sum())
    shares = counts / total
    seen = 1.0 - min(once, total - 1.0) / total
    shrunk = seen * shares
    chance = -np.expm1(total * np.log1p(-np.minimum(shrunk, 1 - 1e-12)))
    estimate = -(shrunk * np.log(shrunk) / chance).sum()
    plain = -(shares * np.log(shares)).sum()
    return max(float(estimate - plain), 0.0)
