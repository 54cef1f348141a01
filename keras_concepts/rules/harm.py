"""The one harm gate: whether a training run is on its way.

The loss of the best constant prediction is what a model reaches that ignores
its inputs. The *skill* of a run is the share of that loss that it has removed:
0 for a constant prediction, 1 for a perfect one, below 0 for what is worse than
a constant. A run does harm if its skill is too low and, at the pace of the last
quarter of its epochs, would still be too low at the planned end.
"""

import math
from typing import NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Position
from keras_concepts.rules.training import Curve, Training

# Of the planned epochs, before a run is judged; and 3 epochs, in runs of fewer
# than 13 less than a quarter of them. Source: prototype on 130 recorded runs.
PATIENCE = 0.1
_LEAST = 3
# Of a run of fewer epochs and fewer steps nothing can be expected: it is a
# first try. Source: this project; Adam moves weights of 0.1 by 1e-3 in a step.
_FEWEST_EPOCHS, _FEWEST_STEPS = 5, 300
# How many epochs in a row must say so.
_CHECKS = 3


class Harm(NamedTuple):
    """That a run is not on its way.

    Attributes:
        since: End of the first epoch that was too low for good.
        skill: Share of the constant predictor's loss that was removed.
        projected: The skill at the planned end, at the present pace.
    """

    since: Position
    skill: float
    projected: float


def skill(t: Training) -> Curve:
    """Skill after each epoch; empty where it is not known.

    Without the loss of a constant predictor, that of the untrained model takes
    its place, or that of the first epoch.
    """
    loss = data_loss(t)
    reference = reference_loss(t)
    if not loss or reference is None:
        return Curve(*(column[:0] for column in loss))
    return loss._replace(values=1.0 - loss.values / reference)


def data_loss(t: Training) -> Curve:
    """The loss that `fit` logs, without the penalties of weights."""
    loss, measured = t.logs("loss"), t.curve(q.DATA_LOSS)
    if len(measured.values) == len(loss.values):
        return loss._replace(values=measured.values)
    penalties = t.curve(q.WEIGHT_PENALTY)
    if not loss or not penalties:
        return loss
    after = np.interp(loss.steps, penalties.steps, penalties.values)
    before = np.concatenate([penalties.values[:1], after[:-1]])
    # Penalties shrink exponentially, so that the mean over an epoch is the
    # logarithmic mean of its ends.
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (before - after) / np.log(before / after)
    mean = np.where(np.isfinite(mean), mean, (before + after) / 2.0)
    return loss._replace(values=loss.values - mean)


def constant_loss(t: Training) -> float | None:
    """Loss of the best constant prediction, of all heads together."""
    total = 0.0
    for head in t.heads:
        loss = t.targets.get(head["output"], {}).get("constant_loss")
        if loss is None or not math.isfinite(loss):
            return None
        weight = head.get("loss_weight")
        total += loss * (1.0 if weight is None else weight)
    return total if t.heads and total > 1e-9 else None


def reference_loss(t: Training) -> float | None:
    """What the skill is measured against; `None` if nothing is known."""
    constant = constant_loss(t)
    if constant is not None:
        return constant
    loss = data_loss(t).finite
    first = t.curve(q.PROBE_LOSS).finite or loss
    if not first or not loss or first.values[0] <= 1e-9:
        return None
    return float(max(first.values[0], loss.values[0]))


def harm(t: Training, enough: float) -> Harm | None:
    """Whether the run is not on its way; `None` if it is, or if unknown.

    A loss that is not finite is harm. Nothing is said in the first tenth of the
    planned epochs, nor of a run of fewer than 5 epochs and 300 steps, and the
    last epochs must all agree.

    Args:
        t: What is known.
        enough: Skill that the run should reach by the planned end.
    """
    if t.broken_at is not None:
        return Harm(t.broken_at, math.nan, math.nan)
    curve = skill(t)
    count, planned = len(curve.values), t.planned_epochs
    least = patience(planned)
    if count < least:
        return None
    is_short = _planned_steps(t, curve) < _FEWEST_STEPS
    if is_short and planned < _FEWEST_EPOCHS:
        return None
    low = np.array(
        [_is_low(curve.values[: n + 1], planned, enough) for n in range(count)]
    )
    checks = min(_CHECKS, least)
    if not low[-checks:].all():
        return None
    now = float(curve.values[-1])
    return Harm(curve.since(low), now, _projected(curve.values, planned))


def _planned_steps(t: Training, curve: Curve) -> float:
    """Steps of the whole run, at the length of its first epochs."""
    taken = int(curve.steps[-1]) - (t.facts.get("first_step") or 0)
    return taken / len(curve.values) * t.planned_epochs


def patience(planned: int) -> int:
    """Epochs before anything is said of a run of so many."""
    few = min(_LEAST, max(1, math.ceil(planned / 4) - 1))
    return max(few, math.ceil(PATIENCE * planned))


def _is_low(values: np.ndarray, planned: int, enough: float) -> bool:
    best = float(np.median(values[-3:]))
    return best < enough and _projected(values, planned) < enough


def _projected(values: np.ndarray, planned: int) -> float:
    """Skill at the planned end, at the pace of the last quarter."""
    count = len(values)
    if count < 2:
        return float(values[-1])
    window = min(count, max(3, math.ceil(count / 4)))
    recent = np.clip(values[-window:], -1.0, 1.0)
    pace = np.polyfit(np.arange(len(recent)), recent, 1)[0]
    return float(values[-1] + max(pace, 0.0) * (planned - count))
