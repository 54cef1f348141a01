"""Whether a run has certainly learned something, however little."""

import math

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.agreement import agreement
from keras_concepts.rules.harm import (
    CHECKS,
    PACE,
    constant_loss,
    data_loss,
    of_all_heads,
    patience,
    scale_of_loss,
)
from keras_concepts.rules.training import Curve, Training

# Losses that are a negative log-likelihood, up to scale and offset.
_LIKELIHOODS = (
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
)
# Nats below a constant that are two standard errors; and the fewest rows of a
# probe, so that its standard error is not underestimated.
_CERTAIN, _PROBE_ROWS = 8.0, 32
# Fewest epochs of a custom loss, and how many times it must have fallen by what
# it changes in one of the later epochs. Source: this project; one that only
# swings falls by one or two such changes.
_EPOCHS, _SWINGS = 6, 10.0


def makes_progress(t: Training, by_training: bool = False) -> bool:
    """Whether the run has certainly learned something, however little.

    Where labels are mostly noise, the best model is hardly better than a
    constant. For the squared error and for cross-entropies, a sum over `n`
    samples that is `g` nats below that of a constant has a standard error of
    about `sqrt(2 g)`, so that `g` is significant above 8. It must be above 8 in
    each of the last epochs, for one of these losses:

    - the validation loss, compared with the best constant for its own labels;
    - in the first two epochs, the loss of the probe, if the standard error of
      the constant's is known: nothing has been memorized yet;
    - if `by_training`, the training loss, where `g` must also exceed the number
      of trainable weights, which is twice what they can learn from noise.

    A custom loss may contain a constant of any size, so that its share says
    nothing. It shows progress if it is below that of a constant prediction, has
    fallen by far more than it swings, and agreement is not known.

    Args:
        t: What is known of the run.
        by_training: Whether the training loss may show it.
    """
    if _probe_shows_progress(t) or _own_loss_falls(t):
        return True
    rows = (t.data.get("validation") or {}).get("rows")
    for target in (t.data.get("validation") or {}).get("targets") or ():
        loss = data_loss(t, "val_loss").finite
        gained = _nats(t, loss, target.get("constant_loss"), rows)
        if gained > _CERTAIN:
            return True
    weighted = t.fit.get("class_weight") or t.fit.get("sample_weight")
    if not by_training or weighted or not t.facts.get("variables"):
        return False
    free = sum(
        math.prod(each["shape"])
        for each in t.facts["variables"]
        if each["trainable"]
    )
    gained = _nats(t, data_loss(t).finite, constant_loss(t), t.data.get("of"))
    return gained > _CERTAIN + free


def _nats(
    t: Training, loss: Curve, constant: float | None, rows: int | None
) -> float:
    """How far a loss was below a constant's in all of the last epochs.

    In nats over all rows, if the loss is a log-likelihood, else 0.
    """
    checks = min(CHECKS, patience(t.planned_epochs))
    if len(t.heads) != 1 or t.facts.get("own_step"):
        return 0.0
    [head] = t.heads
    target = t.targets.get(head["output"], {})
    is_square = head.get("loss") == "MeanSquaredError"
    if (
        head.get("loss") not in _LIKELIHOODS
        or head.get("label_smoothing")
        or head.get("loss_weight") not in (None, 1.0)
        or target.get("form") == "probabilities"
        or (target.get("form") == "real") != is_square
        or constant is None
        or constant <= 1e-9
        or not rows
        or len(loss.values) < checks
    ):
        return 0.0
    below = constant - loss.values[-checks:]
    return float(rows * (below / constant / 2 if is_square else below).min())


def _probe_shows_progress(t: Training) -> bool:
    """Whether the probe's loss is two standard errors below a constant's."""
    scale, spread = scale_of_loss(t), of_all_heads(t, "constant_loss_spread")
    probe = t.curve(q.PROBE_INFERENCE_LOSS).finite
    late = t.ended_epochs > PACE or not t.ended_epochs
    weighted = t.fit.get("class_weight") or t.fit.get("sample_weight")
    if late or weighted or spread is None or scale is None or not probe:
        return False
    error = spread / math.sqrt(_PROBE_ROWS)
    return bool(
        probe.epochs[-1] >= 0
        and probe.values[-1] < scale.perfect + scale.span - 2.0 * error
    )


def _own_loss_falls(t: Training) -> bool:
    """Whether a custom loss falls steadily, and is below a constant's."""
    constant, loss = constant_loss(t), data_loss(t).finite
    is_own = any(head.get("kind") == "other" for head in t.heads)
    if not is_own or constant is None or len(loss.values) < _EPOCHS:
        return False
    if agreement(t) is not None:  # which tells more
        return False
    if loss.values[-CHECKS:].max() >= constant:
        return False
    late = loss.values[len(loss.values) // 2 :]
    fallen = loss.values[0] - np.median(loss.values[-CHECKS:])
    return bool(fallen > _SWINGS * np.median(np.abs(np.diff(late))))
