"""The loss of the best constant prediction, learned without inputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batches import as_fed
from keras_concepts._types import Tensor
from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.labels import (
    LabelForm,
    counted_classes,
)
from keras_concepts.instruments.data.rows import spread_rows

MOST_TARGETS = 2048
_MOST_ENTRIES = 2_000_000
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.75, 0.9, 0.95, 0.99, 1.0)
_SMALLEST = 1e-7  # probability, as Keras clips them


def constant_losses(
    loss: OutputLoss,
    head: Mapping[str, Any],
    y: np.ndarray,
    form: LabelForm,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
) -> tuple[float | None, float | None]:
    """The compiled loss of the best constant prediction, and of a uniform one.

    Up to 2,048 evenly spaced labels are compared with the same prediction in
    every row. For classes it is their shares; for answers the mean of each
    column; for numbers the mean and median of each entry, for relative losses
    the matching means, and for a user's own loss a few quantiles; with label
    smoothing also the smoothed shares. They are passed as logits where the loss
    takes logits. The smallest loss counts. `loss_weights` and masks of the
    predictions are ignored. A sum over the batch is scaled to the size of a
    batch.

    Args:
        loss: Loss of the output.
        head: Facts of the output; see `head_facts`.
        y: Labels, `(n, ...)`.
        form: The form of the labels.
        sample_weight: Weights of samples or entries, class weights included.
        batch_size: Rows of a batch, which only a sum needs.

    Returns:
        Both losses; `None` if one cannot be computed, and for the uniform loss
        if labels are not classes.
    """
    if y.dtype.kind not in "fiub" or not len(y):
        return None, None
    shape = output_shape(head, y, form)
    if shape is None:
        return None, None
    most = max(_MOST_ENTRIES // max(math.prod(shape[1:]), 1), 1)
    rows = spread_rows(len(y), min(MOST_TARGETS, most))
    y, shape = y[rows], (len(rows), *shape[1:])
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    classes = _Constants(loss, head, form, y, shape, sample_weight)
    scale = 1.0
    if getattr(loss.function, "reduction", None) == "sum":
        if not batch_size:
            return None, None
        scale = min(batch_size, len(rows)) / len(rows)

    try:
        uniform = list(classes.uniform())
        candidates = [*uniform, *classes.best()]
    except (ValueError, IndexError, TypeError):  # labels that do not fit
        return None, None
    losses = losses_of(loss, y, candidates, shape, sample_weight)
    return (
        _smallest(losses, scale),
        _smallest(losses[: len(uniform)], scale),
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
    rows = spread_rows(
        len(y), min(MOST_TARGETS, max(_MOST_ENTRIES // (y.size // len(y)), 1))
    )
    y, shape = y[rows], (len(rows), *shape[1:])
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)[rows]
    scale = 1.0
    if getattr(loss.function, "reduction", None) == "sum":
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
        weight = np.asarray(self._weight, "float64")
        while weight.ndim > len(entries) and weight.shape[-1] == 1:
            weight = weight[..., 0]
        while weight.ndim < len(entries):
            weight = weight[..., None]
        return np.broadcast_to(weight, entries)

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
