"""The loss of the best constant prediction, learned without inputs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_concepts import _backend
from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.class_losses import (
    UNKNOWN,
    ClassLosses,
    ConstantLosses,
)
from keras_concepts.instruments.data.constant_predictions import (
    ConstantPredictions,
)
from keras_concepts.instruments.data.labels import LabelForm
from keras_concepts.instruments.data.prediction_losses import (
    losses_of,
    output_shape,
    reduction,
    smallest,
    some_rows,
)

# Multiclass losses that are a mean over entries, each of which depends on its
# own label only.
_BY_ENTRY = {
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CrossEntropy",
    "FocalCrossEntropy",
    "KLDivergence",
    "SparseCategoricalCrossentropy",
}


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

    All labels are compared with the same predictions, and the smallest loss
    counts. For classes these are their shares; for yes-or-no labels the mean of
    each column; for numbers the mean and median of each entry, for relative
    losses the matching means, and for a user's own loss a few quantiles; with
    label smoothing also the smoothed shares. Where the loss takes logits, they
    are passed as logits.
    `loss_weights` are ignored. A sum over the batch is scaled to the size of a
    batch.

    Where each entry has one class, the loss is computed once per class that
    occurs, and weighted by its share; for very many classes, only
    cross-entropies are known. Otherwise up to 262,144 evenly spaced rows and
    2,000,000 entries are read; for a user's own loss, up to 2,048 rows.

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
        return UNKNOWN
    shape = output_shape(head, y, form)
    if shape is None:
        return UNKNOWN
    is_sum = reduction(loss) == "sum"
    if is_sum and not batch_size:
        return UNKNOWN
    if sample_weight is not None:
        sample_weight = np.asarray(sample_weight)
    of = len(y) if of is None else max(of, len(y))
    try:
        if _is_by_class(loss, form):
            found = ClassLosses(loss, head, form, y, shape, sample_weight)
            scale = 1.0
            if is_sum:
                scale = found.entries * min(batch_size or 0, len(y)) / len(y)
            return found.losses(scale, 1.0 - len(y) / of)
        rows = some_rows(loss, len(y), math.prod(shape[1:]))
        y, shape = y[rows], (len(rows), *shape[1:])
        if sample_weight is not None:
            sample_weight = sample_weight[rows]
        constants = ConstantPredictions(
            loss, head, form, y, shape, sample_weight
        )
        uniform = list(constants.uniform())
        candidates = [*uniform, *constants.best()]
    except (ValueError, IndexError, TypeError):  # labels that do not fit
        return UNKNOWN
    scale = min(batch_size or 0, len(y)) / len(y) if is_sum else 1.0
    losses = losses_of(loss, y, candidates, shape, sample_weight)
    best = smallest(losses, scale)
    even = smallest(losses[: len(uniform)], scale)
    apart = constants.relative_spread()
    if best is None or apart is None or is_sum:
        return ConstantLosses(best, even)
    spread = apart * abs(best)
    error = spread * math.sqrt((1.0 - len(y) / of) / len(y))
    return ConstantLosses(best, even, error, spread)


def _is_by_class(loss: OutputLoss, form: LabelForm) -> bool:
    """Whether the loss is a mean over entries, each with one class."""
    options = {**vars(loss.function), **_backend.options_of_loss(loss.function)}
    return (
        form in ("sparse", "one_hot")
        and loss.name in _BY_ENTRY
        and options.get("axis", -1) == -1
    )


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
