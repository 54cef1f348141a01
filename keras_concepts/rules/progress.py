"""Rules about the loss itself, and predictions that ignore the inputs."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.agreement import agreement
from keras_concepts.rules.certain_progress import makes_progress
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import (
    data_loss,
    harm,
    is_a_first_try,
    reference_loss,
    scale_of_validation,
    skill,
)
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held
from keras_concepts.rules.units import perplexity

# Share of the constant predictor's loss. Source: calibrated, benchmarks/doctor.
NO_SKILL = 0.05
# The same if the validation loss shows that nothing was learned but the rows.
NO_MEMORY = 0.2
# Share of the planned epochs: long plateaus may end late. Source: calibrated.
_HALF = 0.5
# Perplexity of predicted classes relative to the labels'. Source: prototype.
COLLAPSED = 0.5
# With this skill or more, rare classes may still follow: text models learn
# frequent characters first. Source: public programs.
_FREQUENT_ONES = 0.15
# Share of the largest class below which a single class is a collapse.
ALL_OF_ONE = 0.99
# Weight of the most frequent class relative to that of the rarest. Source: this
# project.
_FAVOUR = 10.0
# Share of all weight that a single class has. Source: this project.
_ALONE = 0.95
# Standard deviation over samples: of probabilities; of other outputs relative
# to the targets' standard deviation.
SAME = 0.01
_CHECKS = 3
# Samples of a class in the probe, none of which is predicted correctly; and
# share of the planned epochs. Source: 0.5 ** 5 is 3 %.
_FEWEST, _LATE = 5, 0.9


@rule(
    "no_progress",
    severity="warning",
    why="A constant prediction, which ignores the inputs, would do as well.",
    page="doctor.md#no_progress",
    needs="a loss in the logs",
    known=lambda t: bool(skill(t)) or agreement(t) is not None,
)
def no_progress(t: Training) -> Iterator[Evidence]:
    """After half of the epochs, the loss is less than 5 % below a constant's.

    The skill (see `harm`) is below 0.05 and, at the current pace, will still be
    below it at the planned end, and no progress is certain (see
    `makes_progress`). The limit is 0.2 if the validation loss was
    never below a constant's: what was learned is then memorized rows. Known
    false alarm: long plateaus, and tasks that can hardly be learned; guard:
    half of the planned epochs must have passed. If the loss is a custom one,
    the agreement of predictions with the labels of the probe replaces the
    skill.
    """
    if t.ended_epochs < _HALF * t.planned_epochs:
        return
    limit = NO_SKILL
    if _validates_nothing(t):
        limit = NO_MEMORY
    hurt = harm(t, limit)
    if (
        hurt is None
        or t.broken_at is not None
        or makes_progress(t, by_training=True)
    ):
        return
    name = "share of the constant predictor's loss that was removed"
    learned = skill(t).values
    if not len(learned) or learned[-1] > hurt.skill + 1e-9:
        name = "agreement of predictions and labels on the probe"
    yield Evidence(
        "",
        hurt.since,
        (Measured(name, hurt.skill, limit),),
        "First train on a few samples until they are memorized: if that fails, "
        "the inputs, labels and loss do not fit together; if it works, the "
        "labels may be mostly noise.",
        "kc.preflight(model, x, y)",
    )


def _validates_nothing(t: Training) -> bool:
    """Whether the validation loss was never below that of a constant."""
    validation = data_loss(t, "val_loss").finite
    scale = scale_of_validation(t)
    if not validation or scale is None:
        return False
    return bool(scale.skill(validation.values).max() < 0.02)


@rule(
    "oscillating_loss",
    severity="warning",
    why="Steps that are too large or too noisy make the loss swing from epoch "
    "to epoch by more than it falls.",
    page="doctor.md#oscillating_loss",
    needs="a loss in the logs",
    known=lambda t: bool(t.logs("loss")),
)
def oscillating_loss(t: Training) -> Iterator[Evidence]:
    """The loss swings by more than it falls.

    Over the last eight epochs, the standard deviation of the loss around a
    fitted straight line is larger than the descent of that line, and than 5 %
    of the constant predictor's loss. Reported only if there is harm. Known
    false alarm: noise of small batches at the end; guard: the 5 %, and harm.
    """
    loss, reference = data_loss(t).finite, reference_loss(t)
    if len(loss.values) < 8 or reference is None:
        return
    recent = loss.values[-8:]
    line = np.polynomial.Polynomial.fit(np.arange(8), recent, 1)
    swing = float(np.std(recent - line(np.arange(8))))
    descent = float(line(0) - line(7))
    limit = max(descent, 0.05 * reference)
    if swing <= limit or harm(t, 0.3) is None:
        return
    yield Evidence(
        "",
        loss.at(len(loss.values) - 8),
        (Measured("standard deviation of the loss", swing, limit),),
        "Lower the learning rate, or use larger batches.",
        'keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.1)',
    )


@rule(
    "constant_predictions",
    severity="warning",
    why="A model that gives every sample the same prediction ignores its "
    "inputs.",
    page="doctor.md#constant_predictions",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.PREDICTION_SPREAD)),
)
def constant_predictions(t: Training) -> Iterator[Evidence]:
    """The predictions are nearly the same for every sample.

    The standard deviation over the samples of the probe is below 0.01 (for
    outputs that are not probabilities, below 0.01 of that of the targets) in
    three checks after the start, at least two of them before the end. Reported
    only if there is harm; or, if a custom `train_step` trains a model without
    labels whose output has the shape of its input, after half of the epochs:
    its code then carries no information. Known false alarm: the first epochs of
    a long plateau; guard: harm at a very low skill, and a fifth of the epochs.
    """
    if t.ended_epochs < 0.2 * t.planned_epochs:
        return
    for head in t.heads:
        name = head["output"]
        curve = t.curve(q.PREDICTION_SPREAD, name)
        curve = Curve(*(column[curve.epochs >= 0] for column in curve))
        target = t.targets.get(name, {})
        scale, rebuilt = 1.0, _rebuilt_spread(t, head)
        if rebuilt is not None:
            scale = rebuilt
        elif head.get("kind") not in ("multiclass", "binary"):
            scale = target.get("std") or 1.0
        same = curve.values < SAME * scale
        checks = min(_CHECKS, len(same))
        if (
            checks < (1 if t.has_ended else 2)
            or not held(same, checks)
            or (rebuilt is None and harm(t, 0.1) is None)
        ):
            continue
        yield Evidence(
            name,
            curve.since(same),
            (
                Measured(
                    "standard deviation of predictions over samples",
                    float(curve.values[-1]),
                    SAME * scale,
                ),
            ),
            "Look for what cuts the output off from the inputs: dead or "
            "saturated units, a learning rate that is too high, inputs that "
            "are not scaled.",
            "kc.preflight(model, x, y)",
            part=name,
        )


def _rebuilt_spread(t: Training, head: dict[str, Any]) -> float | None:
    """Standard deviation of the input, if the output should reproduce it."""
    own = bool(t.facts.get("own_step")) and not head.get("loss")
    is_late = t.ended_epochs >= _HALF * t.planned_epochs
    if not own or not is_late or t.targets or len(t.inputs) != 1:
        return None
    [given] = t.inputs
    if [None, *(given.get("shape") or ())] != head.get("shape"):
        return None
    is_short = t.ended_epochs < 2 * _CHECKS
    return None if is_short else given.get("std") or None


@rule(
    "class_collapse",
    severity="warning",
    why="Classes that are never predicted have not been learned, however good "
    "the accuracy looks.",
    page="imbalanced_classes.md",
    needs="a probe batch of a classifier, and its labels",
    known=lambda t: bool(t.curves(q.PREDICTED_SHARE)),
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def class_collapse(t: Training) -> Iterator[Evidence]:
    """Fewer than half of the classes are predicted, by perplexity.

    The perplexity of the predicted classes on the probe relative to that of the
    labels is below 0.5, or only one class is predicted, in three checks.
    Reported only if there is harm and no progress is certain (see
    `makes_progress`). Known false alarm: the first steps, and natural
    imbalance; guard: three checks, the perplexity of the labels themselves, and
    harm.
    """
    for head in t.heads:
        name = head["output"]
        curve = t.curve(q.PREDICTED_SHARE, name)
        shares = label_shares(t, head)
        if shares is None or not curve:
            continue
        expected = perplexity(shares)
        ratios, most, ends = [], [], []
        for step in np.unique(curve.steps[curve.epochs >= 0]):
            rows = np.flatnonzero(curve.steps == step)
            ratios.append(perplexity(curve.values[rows]) / expected)
            most.append(float(curve.values[rows].max()))
            ends.append(rows[0])
        single = shares.max() < ALL_OF_ONE
        low = np.array(
            [
                ratio < COLLAPSED or (single and ratio * expected < 1.0 + 1e-9)
                for ratio in ratios
            ]
        )
        is_late = t.ended_epochs >= _HALF * t.planned_epochs
        checks = min(2 if is_late else _CHECKS, len(low))
        hurt = harm(t, _FREQUENT_ONES)
        if checks < 2 or not held(low, checks) or hurt is None:
            continue
        if makes_progress(t, by_training=True):
            continue
        starts = Curve(*(column[ends] for column in curve))
        yield Evidence(
            name,
            starts.since(low),
            _collapsed_to(float(ratios[-1]), most[-1], shares),
            "Give rare classes more weight, and evaluate with macro F1 instead "
            "of accuracy.",
            'metrics=[kc.metrics.F1Score(average="macro")]',
            part=name,
        )


def _collapsed_to(
    ratio: float, most: float, shares: np.ndarray
) -> tuple[Measured, ...]:
    """Few predicted classes, or only one: of two classes, perplexity is high.

    Args:
        ratio: Perplexity of predicted classes relative to the labels'.
        most: Share of the most predicted class.
        shares: Share of each class in the labels.
    """
    name = "perplexity of predicted classes relative to the labels'"
    few = ratio < COLLAPSED
    return (
        *((Measured(name, ratio, COLLAPSED),) if few else ()),
        Measured("share of the most predicted class", most, None if few else 1),
        Measured("share of the largest class", float(shares.max())),
    )


@rule(
    "class_collapse",
    severity="info",
    why="A class that is too rare to ever be the most likely one is never "
    "predicted, although the model may have learned to recognize it.",
    page="imbalanced_classes.md",
    needs="a probe batch of a classifier, and its labels",
    known=lambda t: bool(t.curves(q.PROBE_RECALL)),
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def never_predicted(t: Training) -> Iterator[Evidence]:
    """A class is never predicted, although the run is on track.

    In the last tenth of the epochs, and in the last two checks, none of the
    class's samples in the probe, of which there are five or more, is predicted
    correctly; with a recall of one half, that would happen by chance in one
    case of thirty. Reported only as information: the probabilities may be
    right, and a threshold below 0.5 may find the class. Known false alarms:
    classes of which the probe has few samples, and a run that has hardly begun;
    guards: their number, and 5 epochs or 300 steps.
    """
    if t.ended_epochs < _LATE * t.planned_epochs or is_a_first_try(t):
        return
    if harm(t, _FREQUENT_ONES) and not makes_progress(t, by_training=True):
        return
    for head in t.heads:
        name = head["output"]
        recall = t.curve(q.PROBE_RECALL, name)
        counts = t.curve(q.PROBE_CLASS_COUNT, name)
        steps = np.unique(recall.steps[recall.epochs >= 0])[-2:]
        if len(steps) < 2 or len(counts.values) != len(recall.values):
            continue
        never = (recall.values == 0.0) & (counts.values >= _FEWEST)
        both = [set(recall.indices[never & (recall.steps == s)]) for s in steps]
        missed = sorted(both[0] & both[1])
        if not missed:
            continue
        of_class = (recall.steps == steps[-1]) & (recall.indices == missed[0])
        at = int(np.flatnonzero(of_class)[0])
        yield Evidence(
            name,
            recall.at(at),
            (
                Measured("class", str(int(missed[0]))),
                Measured("its samples in the probe", float(counts.values[at])),
                Measured("of these, predicted correctly", 0.0),
                Measured("classes that are never predicted", len(missed)),
            ),
            "Evaluate with the area under the precision-recall curve or macro "
            "F1, and tune the threshold or give the class more weight.",
            'metrics=[kc.metrics.F1Score(average="macro")]',
            variant="never",
            part=name,
        )


@rule(
    "class_weights",
    severity="warning",
    why="Class weights that favour frequent classes make the loss small where "
    "the model is wrong.",
    page="imbalanced_classes.md",
    needs="the labels of a classifier",
    known=lambda t: bool(t.targets),
    meant=lambda t: bool(t.fit.get("class_weight")),
)
def class_weights(t: Training) -> Iterator[Evidence]:
    """Class weights make the classes far more imbalanced than the data are.

    The perplexity of the labels, each counted with its weight, is below half of
    that without weights; or the most frequent class has more than ten times the
    weight of the rarest; or another class has 95 % of all weight. Certain,
    since the loss, which is weighted too, cannot show the harm. Known false
    alarm: a single class that matters on purpose; guard: only extreme weights
    are reported.
    """
    weights = t.fit.get("class_weight") or {}
    for head in t.heads[:1]:
        shares = label_shares(t, head)
        if shares is None or not (shares > 0.0).all():
            continue
        given = [weights.get(str(i), 1.0) for i in range(len(shares))]
        weighted = np.maximum(shares * given, 0.0)
        if not weighted.sum() > 0.0:
            continue
        ratio = perplexity(weighted / weighted.sum()) / perplexity(shares)
        most, least = int(shares.argmax()), int(shares.argmin())
        favour = given[most] / max(given[least], 1e-12)
        uneven = shares[most] > 2.0 * shares[least]
        favours_most = uneven and favour > _FAVOUR
        alone = weighted.max() / weighted.sum() > _ALONE
        reversed_ = alone and weighted.argmax() != most
        if ratio >= COLLAPSED and not (favours_most or reversed_):
            continue
        yield Evidence(
            head["output"],
            (0, 0),
            (
                Measured(
                    "perplexity of the labels with weights over that without",
                    ratio,
                    COLLAPSED,
                ),
                Measured(
                    "weight of the most frequent class over that of the rarest",
                    float(favour),
                    _FAVOUR,
                ),
            ),
            "Weight each class by the inverse of its frequency, or not at all.",
            "counts = np.unique(y, return_counts=True)[1]; "
            "class_weight = dict(enumerate(counts.mean() / counts))",
        )


def label_shares(t: Training, head: dict[str, object]) -> np.ndarray | None:
    """Share of each class in the labels of a classifier with classes."""
    target = t.targets.get(str(head["output"]), {})
    shares = target.get("shares")
    if not shares:
        return None
    if head.get("kind") == "binary":
        if len(shares) != 1:
            return np.array(shares) if len(shares) == 2 else None
        return np.array([1.0 - shares[0], shares[0]])
    return np.array(shares) if head.get("kind") == "multiclass" else None
