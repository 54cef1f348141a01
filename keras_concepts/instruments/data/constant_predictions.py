"""Constant predictions that may be the best, for each kind of loss."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.counted_labels import entry_weights
from keras_concepts.instruments.data.labels import LabelForm

SMALLEST = 1e-7  # probability, as Keras clips them
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.99, 1.0)


class ConstantPredictions:
    """Constant predictions, in the form that the loss expects."""

    def __init__(
        self,
        loss: OutputLoss,
        head: Mapping[str, Any],
        form: LabelForm,
        y: np.ndarray,
        shape: tuple[int, ...],
        sample_weight: np.ndarray | None,
    ) -> None:
        self._loss, self._head, self._form = loss, head, form
        self._y, self._shape, self._weight = y, shape, sample_weight

    def relative_spread(self) -> float | None:
        """Standard deviation of the loss of rows over their mean, if known."""
        y = self._aligned()
        name = self._loss.name
        if self._form == "real" and name == "MeanSquaredError":
            losses = np.square(y - y.mean(axis=0))
        elif self._form == "real" and name == "MeanAbsoluteError":
            losses = np.abs(y - np.median(y, axis=0))
        elif self._form in ("binary", "multi_label") and "Cross" in name:
            share = np.clip(self._means(), SMALLEST, 1 - SMALLEST)
            losses = -np.where(y > 0.5, np.log(share), np.log1p(-share))
        else:
            return None
        losses = losses.reshape(len(y), -1).mean(axis=1)
        mean = float(losses.mean())
        return float(losses.std() / mean) if mean else None

    def uniform(self) -> Iterator[np.ndarray]:
        units = self._shape[-1]
        if self._is_of_classes():
            # If the output's shape does not give the classes, only those that
            # occur are known.
            if self._head["shape"] is not None:
                yield from self._as_classes(np.full(units, 1 / units))
        elif self._is_of_answers():
            yield from self._as_answers(np.full(1, 0.5))

    def best(self) -> Iterator[np.ndarray]:
        smoothing = self._loss.label_smoothing
        if self._is_of_classes():
            shares = self._shares()
            yield from self._as_classes(shares)
            if smoothing:
                even = 1 / self._shape[-1]
                yield from self._as_classes(
                    shares + smoothing * (even - shares)
                )
        elif self._is_of_answers():
            means = self._means()
            yield from self._as_answers(means)
            if smoothing:
                yield from self._as_answers(means + smoothing * (0.5 - means))
        else:
            yield from self._numbers()

    def _is_of_classes(self) -> bool:
        return self._form in ("sparse", "one_hot") or (
            self._form == "probabilities" and self._loss.kind == "multiclass"
        )

    def _is_of_answers(self) -> bool:
        return self._form in ("binary", "multi_label", "probabilities")

    def _shares(self) -> np.ndarray:
        units, y = self._shape[-1], self._y
        if self._form != "sparse":
            weight = self._weights(y.shape[:-1]).reshape(-1, 1)
            table = y.reshape(-1, y.shape[-1])
            return (table * weight).sum(axis=0) / weight.sum()
        flat = y.reshape(-1)
        weight = self._weights(flat.shape if y.size == len(y) else y.shape)
        weight = np.ravel(weight)
        keep = np.isfinite(flat) if flat.dtype.kind == "f" else flat >= 0
        keep &= flat >= 0
        if self._loss.ignore_class is not None:
            keep &= flat != self._loss.ignore_class
        numbers = flat[keep].astype("int64")
        if not len(numbers) or numbers.max() >= units:
            raise ValueError("no class, or one without a unit")
        counts = np.bincount(numbers, weight[keep], minlength=units)
        return counts / counts.sum()

    def _weights(self, entries: tuple[int, ...]) -> np.ndarray:
        """Weights of labels, of shape `entries`."""
        if self._weight is None:
            return np.ones(entries)
        return entry_weights(self._weight, entries)

    def _aligned(self) -> np.ndarray:
        """Labels with the axes of the predictions, in float64."""
        y = self._y.astype("float64")
        if y.ndim < len(self._shape) and self._shape[-1] == 1:
            y = y[..., None]
        return y

    def _means(self) -> np.ndarray:
        y = self._aligned()
        weight = self._weights(y.shape[:1]).reshape(-1, *[1] * (y.ndim - 1))
        counts = np.isfinite(y)
        if self._loss.ignore_class is not None:
            counts &= y != self._loss.ignore_class
        sums = np.where(counts, y * weight, 0).sum(axis=0)
        return sums / np.maximum((counts * weight).sum(axis=0), 1e-12)

    def _numbers(self) -> Iterator[np.ndarray]:
        y = self._aligned()
        weight = self._weights(y.shape[:1])
        yield self._means()
        yield _weighted_median(y, weight)
        name = self._loss.name
        if self._loss.kind == "other" and len(np.unique(weight)) == 1:
            # Such as a quantile loss.
            yield from np.quantile(y, _QUANTILES, axis=0)
        if name == "MeanSquaredLogarithmicError" and y.min() > -1:
            average = np.average(np.log1p(y), axis=0, weights=weight)
            yield np.expm1(average)
        if name == "MeanAbsolutePercentageError":
            relative = 1 / np.maximum(np.abs(y), 1e-7)
            flat = relative.reshape(len(y), -1)
            columns = y.reshape(len(y), -1)
            medians = [
                _weighted_median(columns[:, i], weight * flat[:, i])
                for i in range(min(flat.shape[1], 64))
            ]
            if len(medians) == flat.shape[1]:
                yield np.array(medians).reshape(y.shape[1:])

    def _as_classes(self, shares: np.ndarray) -> Iterator[np.ndarray]:
        clipped = np.clip(shares, SMALLEST, 1.0)
        for logits in self._scales():
            yield np.log(clipped) if logits else clipped
        if self._loss.name == "CategoricalHinge":
            yield np.eye(len(shares))[shares.argmax()]

    def _as_answers(self, means: np.ndarray) -> Iterator[np.ndarray]:
        if self._loss.name in ("Hinge", "SquaredHinge"):
            low = min(float(self._y.min()), 0.0)
            share = (means - low) / (1 - low)
            yield np.where(share > 0.5, 1.0, -1.0)
            yield 2 * share - 1
            return
        clipped = np.clip(means, SMALLEST, 1 - SMALLEST)
        for logits in self._scales():
            yield np.log(clipped / (1 - clipped)) if logits else clipped

    def _scales(self) -> list[bool]:
        """Whether predictions are logits; both, if not known."""
        if self._loss.from_logits is not None:
            return [self._loss.from_logits]
        if self._loss.kind == "other" and self._head["activation"] in (
            None,
            "linear",
        ):
            return [False, True]
        return [False]


def _weighted_median(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Along the first axis."""
    if np.ptp(weight) == 0:
        return np.median(y, axis=0)
    order = np.argsort(y, axis=0)
    cumulated = np.cumsum(weight[order], axis=0)
    place = (cumulated < cumulated[-1:] / 2).sum(axis=0)[None]
    chosen = np.take_along_axis(order, place, axis=0)
    return np.take_along_axis(y, chosen, axis=0)[0]
