"""The loss of the best constant prediction, learned without inputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batches import as_fed
from keras_concepts._types import Tensor
from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.counted_labels import entry_weights
from keras_concepts.instruments.data.labels import (
    LabelForm,
    counted_classes,
)
from keras_concepts.instruments.data.rows import spread_rows

# Rows that are compared one by one: of a user's own loss, which may compare all
# of them with each other, and of Keras'; and entries of their predictions.
_MOST_OF_OWN = 2048
_MOST_ROWS = 262_144
_MOST_ENTRIES = 2_000_000
# Entries of the predictions for one row per class.
_MOST_OF_CLASSES = 8_000_000
# Multiclass losses that are a mean over entries, each of which depends on its
# own label only; and those whose value for a constant has a closed form.
_BY_ENTRY = {
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CrossEntropy",
    "FocalCrossEntropy",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
}
_CLOSED = {"CategoricalCrossentropy", "SparseCategoricalCrossentropy"}
# Standard error of the estimate of what was not seen, relative to it. Source:
# words by Zipf's law, of which as many as a fifth were seen.
_ROUGH = 0.25
_REGIONS = {"SoftFBeta", "Tversky"}
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.99, 1.0)
_SMALLEST = 1e-7  # probability, as Keras clips them


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


_UNKNOWN = ConstantLosses(None, None)


def constant_losses(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
    of: float | None = None,
) -> ConstantLosses:
    """The compiled loss of the best constant prediction, and of a uniform one.

    All labels are compared with the same prediction. For classes it is their
    shares; for answers the mean of each column; for numbers the mean and median
    of each entry, for relative losses the matching means, and for a user's own
    loss a few quantiles; with label smoothing also the smoothed shares. They
    are passed as logits where the loss takes logits. The smallest loss counts.
    `loss_weights` are ignored. A sum over the batch is scaled to the size of a
    batch.

    Where each entry has one class, the loss is computed once per class that
    occurs, and weighted by its share; for very many classes, only
    cross-entropies are known. Otherwise up to 262,144 evenly spaced rows and
    2,000,000 entries are read, of a user's own loss up to 2,048 rows.

    If there are more rows than those in `y`, the entropy of their classes is
    higher than that of the classes seen, because rare classes have not been
    seen yet; the difference is estimated (Chao and Shen, 2003) and added.

    Args:
        loss: Loss of the output.
        head: Facts of the output; see `head_facts`.
        y: Labels, `(n, ...)`.
        form: The form of the labels.
        sample_weight: Weights of samples or entries, class weights included.
        batch_size: Rows of a batch, which only a sum needs.
        of: Number of all rows, of which `y` holds some; infinite if not known.
            Default: those in `y`.
    """
    if y.dtype.kind not in "fiub" or not len(y):
        return _UNKNOWN
    shape = output_shape(head, y, form)
    if shape is None:
        return _UNKNOWN
    is_sum = _reduction(loss) == "sum"
    if is_sum and not batch_size:
        return _UNKNOWN
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
    of = len(y) if of is None else max(of, len(y))
    try:
        if _is_by_class(loss, form):
            found = _Classes(loss, head, form, y, shape, sample_weight)
            scale = 1.0
            if is_sum:
                scale = found.entries * min(batch_size or 0, len(y)) / len(y)
            return found.losses(scale, 1.0 - len(y) / of)
        rows = _some_rows(loss, len(y), math.prod(shape[1:]))
        y, shape = y[rows], (len(rows), *shape[1:])
        if sample_weight is not None:
            sample_weight = sample_weight[rows]
        constants = _Constants(loss, head, form, y, shape, sample_weight)
        uniform = list(constants.uniform())
        candidates = [*uniform, *constants.best()]
    except (ValueError, IndexError, TypeError):  # labels that do not fit
        return _UNKNOWN
    scale = min(batch_size or 0, len(y)) / len(y) if is_sum else 1.0
    losses = losses_of(loss, y, candidates, shape, sample_weight)
    best = _smallest(losses, scale)
    even = _smallest(losses[: len(uniform)], scale)
    apart = constants.relative_spread()
    if best is None or apart is None or is_sum:
        return ConstantLosses(best, even)
    spread = apart * abs(best)
    error = spread * math.sqrt((1.0 - len(y) / of) / len(y))
    return ConstantLosses(best, even, error, spread)


def _some_rows(loss: OutputLoss, count: int, entries: int) -> np.ndarray:
    """Indices of the rows that are compared one by one."""
    is_own = loss.kind == "other" or loss.name in _REGIONS
    most = max(_MOST_ENTRIES // max(entries, 1), 1)
    return spread_rows(count, min(_MOST_OF_OWN if is_own else _MOST_ROWS, most))


def _is_by_class(loss: OutputLoss, form: LabelForm) -> bool:
    """Whether the loss is a mean over entries, each with one class."""
    options = {**vars(loss.function), **_backend.options_of_loss(loss.function)}
    return (
        form in ("sparse", "one_hot")
        and loss.name in _BY_ENTRY
        and options.get("axis", -1) == -1
    )


def perfect_loss(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
) -> float:
    """The compiled loss of predictions that equal the labels.

    It is above 0 for the cross-entropy of probabilities, such as grey pixels
    and ratings, and with label smoothing; for Poisson's loss of counts it may
    be anything. It is 0 for all other losses, and where it cannot be computed.
    See `constant_losses` for the arguments.
    """
    name, smoothing = loss.name, loss.label_smoothing
    is_mixed = form == "probabilities" and name.endswith("Crossentropy")
    is_smooth = smoothing and form in ("one_hot", "binary", "multi_label")
    if not (is_mixed or is_smooth or (name == "Poisson" and form == "real")):
        return 0.0
    shape = output_shape(head, y, form)
    if shape is None or not len(y) or y.size != math.prod(shape):
        return 0.0
    rows = _some_rows(loss, len(y), y.size // len(y))
    y, shape = y[rows], (len(rows), *shape[1:])
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    scale = 1.0
    if _reduction(loss) == "sum":
        if not batch_size:
            return 0.0
        scale = min(batch_size, len(rows)) / len(rows)
    labels = y.astype("float64").reshape(shape)
    if name == "Poisson":
        candidates = [labels]
    else:
        even = 1 / shape[-1] if loss.kind == "multiclass" else 0.5
        labels = labels + (smoothing or 0.0) * (even - labels)
        labels = np.clip(labels, _SMALLEST, 1 - _SMALLEST)
        logits = np.log(labels)
        if loss.kind != "multiclass":
            logits = logits - np.log1p(-labels)
        candidates = [logits if loss.from_logits else labels]
    losses = losses_of(loss, y, candidates, shape, sample_weight)
    found = _smallest(losses, scale)
    return 0.0 if found is None else found


def objective_constant_loss(
    heads: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
) -> float | None:
    """The sum of all losses in the objective for constant predictions.

    Args:
        heads: Facts of the outputs; see `head_facts`.
        targets: Facts of the targets, in the same order.

    Returns:
        The sum of `constant_loss` times `loss_weight`; `None` if one of them is
        not known.
    """
    losses = [each.get("constant_loss") for each in targets]
    if not losses or len(losses) != len(heads) or None in losses:
        return None
    weights = [each.get("loss_weight") for each in heads]
    return float(
        sum(
            value * (1.0 if weight is None else weight)
            for value, weight in zip(losses, weights, strict=True)
            if value is not None
        )
    )


def output_shape(
    head: Mapping[str, Any], y: np.ndarray, form: LabelForm
) -> tuple[int, ...] | None:
    """Shape of the predictions for `y`, guessed from `y` if not known."""
    known = head["shape"]
    if known is None:
        if form == "sparse":
            classes = counted_classes(y, head.get("ignore_class"))
            if not len(classes) or classes.max() > 10_000:
                return None
            tail = y.shape[1:-1] if y.shape[-1] == 1 else y.shape[1:]
            tail = () if y.ndim == 1 else tail
            return (len(y), *tail, int(classes.max()) + 1)
        return (len(y), 1) if y.ndim == 1 else tuple(y.shape)
    shape = [len(y)]
    for axis, length in enumerate(known[1:], start=1):
        if length is None:
            if axis >= y.ndim:
                return None
            length = y.shape[axis]
        shape.append(int(length))
    return tuple(shape)


class _Constants:
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
            share = np.clip(self._means(), _SMALLEST, 1 - _SMALLEST)
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
        clipped = np.clip(shares, _SMALLEST, 1.0)
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
        clipped = np.clip(means, _SMALLEST, 1 - _SMALLEST)
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


class _Classes(_Constants):
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
            return _UNKNOWN
        found = _smallest(losses, scale)
        if found is None:
            return _UNKNOWN
        smallest_uniform = _smallest(losses[: len(uniform)], scale)
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
        is_sum = _reduction(self._loss) == "sum"
        return [each / count if is_sum else each for each in losses]

    def _closed(self, prediction: np.ndarray) -> float:
        """The same for cross-entropies, without a row per class."""
        shares = np.exp(prediction) if self._loss.from_logits else prediction
        bits = -np.log(np.clip(shares / shares.sum(), _SMALLEST, 1.0))
        return float(self._sums[1:] @ bits / self._divisor())

    def _divisor(self) -> float:
        """What the sum over the entries is divided by in their mean."""
        by_weight = _reduction(self._loss) == "mean_with_sample_weight"
        return float(self._sums.sum()) if by_weight else self.entries

    def _spread(self) -> float:
        """Standard deviation of the mean surprise in a row."""
        counts = self._counts[1:]
        shares = np.clip(counts / max(counts.sum(), 1), _SMALLEST, 1.0)
        bits = np.zeros(self._keep.shape)
        bits[self._keep] = -np.log(np.append(1.0, shares))[self._places]
        rows = len(self._y)
        sums = bits.reshape(rows, -1).sum(axis=1)
        held = self._keep.reshape(rows, -1).sum(axis=1)
        mean = sums.sum() / self.entries
        spread = np.square(sums - mean * held).mean() ** 0.5
        return float(spread / held.mean())


def _reduction(loss: OutputLoss) -> str | None:
    return getattr(loss.function, "reduction", None)


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


def _weighted_median(y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Along the first axis."""
    if np.ptp(weight) == 0:
        return np.median(y, axis=0)
    order = np.argsort(y, axis=0)
    cumulated = np.cumsum(weight[order], axis=0)
    place = (cumulated < cumulated[-1:] / 2).sum(axis=0)[None]
    chosen = np.take_along_axis(order, place, axis=0)
    return np.take_along_axis(y, chosen, axis=0)[0]


def losses_of(
    loss: OutputLoss,
    y: np.ndarray,
    predictions: Sequence[np.ndarray],
    shape: tuple[int, ...],
    sample_weight: np.ndarray | None,
) -> list[float]:
    """The loss of each prediction, constant or not, NaN where it fails."""

    def losses(y: Tensor, weight: Tensor, given: list[Tensor]) -> Tensor:
        found = []
        for each in given:
            y_pred = ops.broadcast_to(each, shape)
            found.append(ops.mean(loss.function(y, y_pred, weight)))
        return ops.stack(found)

    fed = as_fed([y, sample_weight, [p.astype("float32") for p in predictions]])
    try:
        values = _backend.compiled(losses, once=True)(*fed)
        return _backend.on_host(values).tolist()
    except Exception:  # a user's own loss, or labels that do not fit
        return [math.nan] * len(predictions)


def _smallest(losses: list[float], scale: float) -> float | None:
    finite = [each for each in losses if math.isfinite(each)]
    return scale * min(finite) if finite else None
