"""The one test of harm: whether a training run is on track.

A model that ignores its inputs can reach the loss of the best constant
prediction. The *skill* of a run is the share of that loss that it has removed:
0 for a constant prediction, 1 for a perfect one, below 0 if it is worse than a
constant. If a perfect prediction has a loss too, as with smoothed labels or the
cross-entropy of grey pixels, both losses are measured from there. There is
*harm* if the skill is too low and, at the pace of the last quarter of the
epochs, would still be too low at the planned end.
"""

import itertools
import math
from typing import Any, NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.agreement import agreement
from keras_concepts.rules.finding import Position
from keras_concepts.rules.training import Curve, Training

# Share of the planned epochs before a run is judged; and at least 3 epochs. In
# runs of fewer than 13 epochs it is less than a quarter of them, in runs of
# fewer than 5 it is 2: one epoch has no pace. Source: prototype on 130 recorded
# runs; public examples of 2 epochs.
PATIENCE = 0.1
_LEAST = 3
# Nothing can be expected of a run of fewer epochs and fewer steps: it is a
# first try, or one of many calls of `fit`. Source: public character models and
# Q-learning; Adam changes weights of 0.1 by 1e-3 in a step.
_FEWEST_EPOCHS, _FEWEST_STEPS = 5, 300
PACE = 2
# Number of epochs in a row that must agree.
CHECKS = 3
# Decrease of the logarithm of the loss per epoch in a run that may still get
# somewhere. Source: public autoencoders and recommenders, whose loss falls
# faster and faster at first.
_FALLS = 0.05
# Loss relative to the constant predictor's; higher values are clipped to this
# one. How fast a run recovers from a wrong scale in its first epochs says
# nothing about where it ends. Source: public autoencoders begin at 2 to 4.
_HIGHEST = 10.0
# Difference of two losses relative to the larger one; smaller is rounding.
_ROUNDING = 1e-6
# Differences between training and validation: half of the sum of absolute
# differences between the class shares of the targets, and the difference of
# their means in standard deviations. Source: this project; random splits of a
# hundred rows stay below.
_APART = 0.2
_SHIFTED = 0.25
# In the first epoch, this many batches in a row must have this little skill.
# Source: this project.
_BATCHES, _ASTRAY = 3, -1.0
# A loss at most this much above a constant's, relative to it, is no worse than
# a constant's. Source: public heads on pretrained bodies begin at 4.
_NEAR = 0.1
# The probe has few rows, so its loss may be lower by chance. Source: standard
# error of the mean square of 256 rows.
_BY_CHANCE = 0.1


class Harm(NamedTuple):
    """Says that a run is not on track.

    Attributes:
        since: End of the epoch since which the skill has been too low.
        skill: Share of the constant predictor's loss that was removed.
        projected: The skill at the planned end, at the current pace.
    """

    since: Position
    skill: float
    projected: float


def skill(t: Training) -> Curve:
    """Skill after each epoch; empty if it is not known.

    If the loss of a constant predictor is not known, that of the untrained
    model replaces it, or that of the first epoch.
    """
    loss = data_loss(t)
    scale = _scale(t)
    if not loss or scale is None:
        return Curve(*(column[:0] for column in loss))
    return loss._replace(values=scale.skill(loss.values))


class Scale(NamedTuple):
    """What converts a loss into a skill.

    Attributes:
        perfect: Loss of perfect predictions.
        span: How much higher the loss of the best constant prediction is.
    """

    perfect: float
    span: float

    def skill(self, loss: np.ndarray) -> np.ndarray:
        return 1.0 - (loss - self.perfect) / self.span


def scale_of_loss(t: Training) -> Scale | None:
    """Losses of perfect and of constant predictions, if these are known.

    If the constant's is known from some of the rows only, it is taken to be two
    standard errors higher, in favour of the run.
    """
    if has_negative_weights(t):
        return None
    constant = of_all_heads(t, "constant_loss")
    perfect = of_all_heads(t, "perfect_loss", 0.0)
    error = of_all_heads(t, "constant_loss_error", 0.0) or 0.0
    if constant is None or perfect is None:
        return None
    if constant - perfect <= 1e-9 + _ROUNDING * abs(constant):
        return None
    constant += 2.0 * abs(error)
    return Scale(perfect, constant - perfect)


def _scale(t: Training) -> Scale | None:
    scale, reference = scale_of_loss(t), reference_loss(t)
    if scale is None and reference is not None:
        return Scale(0.0, reference)
    return scale


def data_loss(t: Training, key: str = "loss") -> Curve:
    """A loss that `fit` logs, without penalties.

    If the loss of a constant is known, what layers add to the loss is left out
    too, such as activity regularization or a divergence.
    """
    loss, measured = t.logs(key), t.curve(q.DATA_LOSS)
    if key == "loss" and loss and len(measured.values) == len(loss.values):
        return loss._replace(values=measured.values)
    parts = [t.curve(q.WEIGHT_PENALTY)]
    if scale_of_loss(t) is not None:
        parts.append(t.curve(q.PROBE_ADDED_LOSS))
    for part in (curve.finite for curve in parts):
        if not loss or not part:
            continue
        after = np.interp(loss.steps, part.steps, part.values)
        mean = after
        if not key.startswith("val_"):
            before = np.concatenate([part.values[:1], after[:-1]])
            mean = _mean_between(before, after)
        loss = loss._replace(values=loss.values - mean)
    return loss


def _mean_between(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Mean over an epoch of what shrinks or grows exponentially."""
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (before - after) / np.log(before / after)
    return np.where(np.isfinite(mean), mean, (before + after) / 2.0)


def constant_loss(t: Training) -> float | None:
    """Loss of the best constant prediction, for all heads together."""
    if has_negative_weights(t):
        return None
    total = of_all_heads(t, "constant_loss")
    return total if total is not None and total > 1e-9 else None


def has_negative_weights(t: Training) -> bool:
    """Whether sample weights are below 0, as the advantages of actions are.

    The loss then has no lower limit, and says nothing about the skill.
    """
    return any(each.get("negative_weights") for each in t.targets.values())


def of_all_heads(
    t: Training, fact: str, otherwise: float | None = None
) -> float | None:
    """Sum of a fact of the targets over the outputs, as the loss weighs them.

    `None` if it is not known of each.
    """
    total = 0.0
    for head in t.heads:
        loss = t.targets.get(head["output"], {}).get(fact, otherwise)
        if loss is None or not math.isfinite(loss):
            return None
        weight = head.get("loss_weight")
        total += loss * (1.0 if weight is None else weight)
    return total if t.heads else None


def scale_of_validation(t: Training) -> Scale | None:
    """`scale_of_loss`, if the validation loss is comparable.

    It is not comparable if classes or samples of the training data have
    weights, which the validation data do not have, or if the validation targets
    are distributed differently, as in the last rows of a series or of sorted
    data.
    """
    if t.fit.get("class_weight") or t.fit.get("sample_weight"):
        return None
    validation = t.data.get("validation") or {}
    for target in validation.get("targets") or ():
        mine = t.targets.get(target["output"])
        if mine is not None and _are_apart(mine, target):
            return None
    return scale_of_loss(t)


def _are_apart(mine: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """Whether two distributions of targets differ by more than chance."""
    if mine["form"] != "real":
        pairs = itertools.zip_longest(
            mine.get("shares") or (), theirs.get("shares") or (), fillvalue=0.0
        )
        return sum(abs(a - b) for a, b in pairs) / 2.0 > _APART
    if None in (mine["mean"], theirs["mean"]) or not mine["std"]:
        return False
    shift = abs(theirs["mean"] - mine["mean"]) / mine["std"]
    return shift > _SHIFTED or not 0.85 < theirs["std"] / mine["std"] < 1.18


def reference_loss(t: Training) -> float | None:
    """What the skill is measured against; `None` if nothing is known."""
    constant = constant_loss(t)
    if constant is not None:
        return constant
    if has_negative_weights(t):
        return None
    loss = data_loss(t).finite
    first = t.curve(q.PROBE_LOSS).finite or loss
    if not first or not loss or first.values[0] <= 1e-9:
        return None
    return float(max(first.values[0], loss.values[0]))


def harm(t: Training, enough: float) -> Harm | None:
    """Whether the run is not on track; `None` if it is, or if that is unknown.

    A loss that is not finite is harm. There is no verdict in the first tenth of
    the planned epochs, nor on a run of fewer than 5 epochs and 300 steps, and
    the last epochs must all agree. In the first epoch, harm is a loss that is
    twice a constant's and does not fall.

    Two other measurements can show that a run is on track. One is the
    validation loss, if it is comparable: the training loss includes dropout and
    augmentation, and is a mean over the epoch. The other, in the first epochs,
    is the loss of the probe, which is that of the model at that time.

    A custom loss may fall while nothing is learned. With such a loss, or with a
    custom `train_step`, the skill counts for no more than the agreement of
    predictions with the labels of the probe, if that can be measured
    (`rules.agreement`).

    There is no verdict on a single epoch of few steps, which may be one of many
    calls of `fit`, nor while a loss falls fast, nor after a first epoch in
    which it came down to that of a constant.

    Args:
        t: What is known of the run.
        enough: Skill that the run should reach by the planned end.
    """
    if t.broken_at is not None:
        return Harm(t.broken_at, math.nan, math.nan)
    if not t.ended_epochs:
        return _harm_inside(t)
    curve = _best_skill(t)
    count, planned = len(curve.values), t.planned_epochs
    least = patience(planned)
    if count < least or is_a_first_try(t):
        return None
    checks = min(CHECKS, least)
    low = np.zeros(count, bool)
    for n in range(count - 1, -1, -1):  # back to where it was not too low
        low[n] = _is_low(curve.values[: n + 1], planned, enough)
        if not low[n]:
            break
    if not low[-checks:].all():
        return None
    if count < planned and _falls_fast(curve.values):
        return None
    if count == 1 and _came_down(t):
        return None
    now = float(curve.values[-1])
    return Harm(curve.since(low), now, _projected(curve.values, planned))


def _harm_inside(t: Training) -> Harm | None:
    """Whether the first epoch, which is still running, has gone far astray.

    It has if the loss of the last measured batches is at least twice that of a
    constant, and not lower than that of the first.
    """
    loss, scale = t.curve(q.BATCH_LOSS).finite, scale_of_loss(t)
    if scale is None or len(loss.values) <= _BATCHES:
        return None
    last = scale.skill(loss.values[-_BATCHES:])
    first = float(scale.skill(loss.values[:1])[0])
    if last.max() > _ASTRAY or np.median(last) > first:
        return None
    now = float(last[-1])
    return Harm(loss.at(len(loss.values) - _BATCHES), now, now)


def _best_skill(t: Training) -> Curve:
    """Skill after each epoch, by the measurement that shows the most."""
    curve, known = skill(t), agreement(t)
    if known is not None:
        return _no_more_than(curve, known, t)
    witnesses: list[tuple[Curve, Scale | None, float]] = [
        (data_loss(t, "val_loss"), scale_of_validation(t), 0.0)
    ]
    probe = t.curve(q.PROBE_INFERENCE_LOSS)
    first = probe.steps <= (curve.steps[:PACE].max() if curve else 0)
    probe = Curve(*(column[first] for column in probe))
    witnesses.append((probe, scale_of_loss(t), _BY_CHANCE))
    values = curve.values.copy()
    for loss, scale, margin in witnesses:
        _, mine, theirs = np.intersect1d(
            curve.steps, loss.steps, return_indices=True
        )
        if scale is not None:
            seen = scale.skill(loss.values[theirs]) - margin
            values[mine] = np.fmax(values[mine], seen)
    return curve._replace(values=values)


def _no_more_than(skill: Curve, looks: Curve, t: Training) -> Curve:
    """The skill, or what was seen between two epochs if that is less.

    If no loss shows the skill, it is only what was seen.
    """
    looks = Curve(*(column[looks.epochs >= 0] for column in looks))
    ends = skill or t.logs("loss") or looks
    if not looks or not ends:
        return looks
    ends = Curve(*(c[ends.steps >= looks.steps[0]] for c in ends))
    seen = np.interp(ends.steps, looks.steps, looks.values)
    values = np.fmin(ends.values, seen) if skill else seen
    return ends._replace(values=values)


def patience(planned: int) -> int:
    """Epochs before a run with this many planned epochs is judged."""
    quarter = math.ceil(planned / 4)
    few = min(_LEAST, quarter - 1) if quarter > 1 else PACE
    return min(planned, max(few, math.ceil(PATIENCE * planned)))


def is_a_first_try(t: Training) -> bool:
    """Whether the run is short, and perhaps one of many calls of `fit`.

    The steps of calls with few epochs that continue a run are added up.
    """
    steps, planned = t.facts.get("steps_per_epoch"), t.planned_epochs
    if t.facts.get("continued"):
        of_fit = t.facts.get("epochs") or 0
        of_fit -= t.facts.get("initial_epoch") or 0
        return of_fit < _FEWEST_EPOCHS and t.position[1] < _FEWEST_STEPS
    few = planned < _FEWEST_EPOCHS
    return few and steps is not None and steps * planned < _FEWEST_STEPS


def _falls_fast(values: np.ndarray) -> bool:
    """Whether the last epoch was the best, by a large part of the loss."""
    if len(values) < 2 or values[-1] < values.max():
        return False
    left = np.log(np.maximum(1.0 - values[-2:], 1e-3))
    return bool(left[0] - left[1] > _FALLS)


def _came_down(t: Training) -> bool:
    """Whether a loss that began too high came down to that of a constant."""
    scale, probe = scale_of_loss(t), t.curve(q.PROBE_INFERENCE_LOSS).finite
    if scale is None or len(probe.values) < 2 or probe.epochs[0] >= 0:
        return False
    values = scale.skill(probe.values[[0, -1]])
    return bool(values[-1] > -_NEAR) and _falls_fast(values)


def stays_low(t: Training, values: np.ndarray, enough: float) -> bool:
    """Whether a skill, after each epoch, is and will stay too low.

    Args:
        t: What is known of the run.
        values: The skill, such as that of one output.
        enough: What it should reach by the planned end.
    """
    count, planned = len(values), t.planned_epochs
    least = patience(planned)
    if count < least or (count < planned and _falls_fast(values)):
        return False
    first = count - min(CHECKS, least) + 1
    return all(
        _is_low(values[:n], planned, enough) for n in range(first, count + 1)
    )


def _is_low(values: np.ndarray, planned: int, enough: float) -> bool:
    best = float(np.median(values[-3:]))
    return best < enough and _projected(values, planned) < enough


def _projected(values: np.ndarray, planned: int) -> float:
    """Skill at the planned end, at the pace of the last quarter.

    The pace is that of the logarithm of the loss, so that a run whose loss
    halves with each epoch is on track, however high the loss was at first.
    """
    count = len(values)
    if count < PACE:
        return float(values[-1])
    window = min(count, max(3, math.ceil(count / 4)))
    recent = np.log(np.clip(1.0 - values[-window:], 1e-3, _HIGHEST))
    pace = np.polyfit(np.arange(len(recent)), recent, 1)[0]
    rest = math.exp(min(pace, 0.0) * (planned - count))
    return float(1.0 - (1.0 - values[-1]) * rest)
