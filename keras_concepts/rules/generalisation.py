"""Rules about results that hold only for the training data."""

import functools
from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.agreement import is_accuracy
from keras_concepts.rules.batch_norm import gaps
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import (
    constant_loss,
    data_loss,
    scale_of_validation,
    skill,
)
from keras_concepts.rules.progress import label_shares
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held

# How far the validation loss has risen above its minimum, as a share of the
# constant predictor's loss. Source: calibrated, benchmarks/doctor.
RISE = 0.2
# Share of the constant predictor's training loss that was removed while none of
# the validation loss was. Source: calibrated, benchmarks/doctor.
_MUCH, _SOME = 0.5, 0.15
# In percent of the minimum. Source: Prechelt (1998), GL_5.
LOSS_OF_GENERALIZATION = 5.0
# How far the accuracy in the logs is above that of the probe; and that of the
# probe above the share of the most frequent class: two standard errors of 256
# rows. Source: this project.
_OVERSTATED, _BY_CHANCE = 0.3, 0.1
# Loss of the probe at inference above that in training mode, as a share of it.
_WIDE = 0.5
# How far the accuracy of a model that has learned must be above the share of
# the most frequent class. Source: this project.
_ABOVE = 0.05
_CHECKS = 3


@rule(
    "overfitting",
    severity="warning",
    why="What the model learns holds for the training data only.",
    page="monitors/penalty_reporter.md",
    needs="validation data",
    known=lambda t: bool(t.logs("val_loss")),
)
def overfitting(t: Training) -> Iterator[Evidence]:
    """The validation loss rises clearly while the training loss falls.

    Variant "rise": for three epochs in a row, the validation loss is above its
    minimum by 5 % (Prechelt's GL) and by 20 % of the constant predictor's loss,
    and the training loss is below its value at that minimum; since then, the
    rise has remained at least half as large. Known false alarm: a confident
    classifier whose few mistakes cost more and more while its accuracy stays
    the same; guard: the 20 %.

    Variant "unrelated": half of the constant predictor's training loss has been
    removed (15 % in the second half of the run), and the validation loss has
    never been below that of a constant. Known false alarm: class or sample
    weights, which the validation loss does not have; guard: nothing is reported
    then.

    What batch normalization makes worse at inference than in training does not
    count: `batch_norm_shift` reports it.
    """
    validation, training, learned = _together(
        data_loss(t, "val_loss"), data_loss(t), skill(t)
    )
    scale = scale_of_validation(t)
    values = validation.values
    if scale is None or not len(values) or not np.isfinite(values).all():
        return
    least = np.minimum.accumulate(values)
    best = np.array(
        [int(np.argmin(values[: i + 1])) for i in range(len(values))]
    )
    # What is worse at inference on the probe too is due to the statistics.
    rise = values - least - _worse_at_inference(t, validation.steps)
    worse = (
        (rise > RISE * scale.span)
        & (100.0 * rise > LOSS_OF_GENERALIZATION * np.abs(least))
        & (training.values < training.values[best])
    )
    is_late = t.ended_epochs >= 0.5 * t.planned_epochs
    remembered = _SOME if is_late else _MUCH
    unrelated = (scale.skill(least) < 0.02) & (learned.values > remembered)
    if held(unrelated, min(_CHECKS, max(2, t.planned_epochs // 2))):
        yield Evidence(
            "",
            validation.since(unrelated),
            (
                Measured(
                    "lowest validation loss relative to a constant's",
                    float(1.0 - scale.skill(least[-1:])[0]),
                    0.98,
                ),
                Measured(
                    "share of a constant's training loss that was removed",
                    float(learned.values[-1]),
                    remembered,
                ),
            ),
            "Check that each input has its own label, in the validation data "
            "too, and that both splits are shuffled and scaled the same way.",
            "x, y = x[order], y[order]  # the same order for both",
            variant="unrelated",
        )
    elif _was_held(worse) and rise[-1] > 0.5 * RISE * scale.span:
        yield Evidence(
            "",
            validation.at(int(best[-1])),
            (
                Measured(
                    "rise of the validation loss",
                    float(rise[-1]),
                    RISE * scale.span,
                ),
                Measured("lowest validation loss", float(least[-1])),
            ),
            "Stop early, add data or augmentation, or regularize.",
            'keras.callbacks.EarlyStopping("val_loss", patience=3, '
            "restore_best_weights=True)",
            variant="rise",
        )


def _worse_at_inference(t: Training, steps: np.ndarray) -> np.ndarray:
    """How much higher the loss of training rows is at inference."""
    gap = gaps(t)
    if not gap or not any(
        "BatchNormalization" in layer["class"] for layer in t.layers
    ):
        return np.zeros(len(steps))
    return np.maximum(np.interp(steps, gap.steps, gap.values), 0.0)


def _together(*curves: Curve) -> list[Curve]:
    """The curves at the steps that they all have."""
    steps = functools.reduce(np.intersect1d, [c.steps for c in curves])
    kept = [np.isin(curve.steps, steps) for curve in curves]
    return [
        Curve(*(column[where] for column in curve))
        for curve, where in zip(curves, kept, strict=True)
    ]


def _was_held(worse: np.ndarray) -> bool:
    """Whether it was worse for three epochs in a row, at any time."""
    return any(
        worse[i : i + _CHECKS].all() for i in range(len(worse) - _CHECKS + 1)
    )


@rule(
    "metric_disagrees",
    severity="warning",
    why="The metric does not measure what the loss optimizes.",
    page="metrics.md",
    needs="an accuracy in the logs",
    known=lambda t: bool(_accuracies(t)),
)
def metric_disagrees(t: Training) -> Iterator[Evidence]:
    """Most of the loss was removed, but the accuracy is that of a constant.

    In the last three epochs, the skill is above 0.5 and the logged accuracy is
    not above the share of the most frequent class plus 0.05. Known false alarm:
    strong imbalance, where that share is close to 1; guard: it must be at most
    0.9.
    """
    if len(t.heads) != 1:
        return
    shares, learned = label_shares(t, t.heads[0]), skill(t)
    of_numbers = t.heads[0].get("kind") == "regression"
    if of_numbers:
        shares = np.array([0.0])
    if shares is None or shares.max() > 0.9 or constant_loss(t) is None:
        return
    for key in _accuracies(t):
        accuracy = t.logs(key)
        count = min(len(accuracy.values), len(learned.values))
        if not count:  # a `train_step` that logs no loss
            return
        wrong = (learned.values[-count:] > 0.5) & (
            accuracy.values[-count:] <= shares.max() + _ABOVE
        )
        if held(wrong, min(_CHECKS, max(2, t.planned_epochs // 2))):
            yield Evidence(
                key,
                accuracy.since(wrong),
                (
                    Measured(
                        key,
                        float(accuracy.values[-1]),
                        float(shares.max()) + _ABOVE,
                    ),
                    *(
                        ()
                        if of_numbers
                        else (
                            Measured(
                                "share of the largest class",
                                float(shares.max()),
                            ),
                        )
                    ),
                    Measured(
                        "share of a constant's loss that was removed",
                        float(learned.values[-1]),
                        0.5,
                    ),
                ),
                "Use a metric for numbers, such as the mean absolute error."
                if of_numbers
                else "Use a metric that fits the labels, with a threshold on "
                "the scale of the outputs (logits or probabilities).",
                'metrics=["mae"]'
                if of_numbers
                else 'metrics=["accuracy"]  # Keras chooses which one',
                why="An accuracy counts predictions that equal the target "
                "exactly, and predicted numbers hardly ever do."
                if of_numbers
                else "",
            )
            return


@rule(
    "metric_disagrees",
    severity="warning",
    why="The accuracy does not count the samples whose class is predicted "
    "correctly.",
    page="metrics.md",
    needs="an accuracy in the logs, and a probe batch with labels",
    known=lambda t: bool(_accuracies(t) and t.curves(q.PROBE_ACCURACY)),
    meant=lambda t: bool(_accuracies(t)),
)
def overstated_accuracy(t: Training) -> Iterator[Evidence]:
    """The logged accuracy is high, but the right class is rarely predicted.

    After half of the epochs, in three checks, the accuracy in the logs is 0.3
    above the share of probe samples whose class is predicted, and that share is
    no more than that of the most frequent class plus 0.1. Known false alarms:
    several labels per sample, accuracies per class, and a model that works
    differently at inference than in training, for example before the moving
    statistics of batch normalization have settled; guards: one class per
    sample, names with `top` or `categorical` in them, training rows as the
    probe, and a loss at inference no more than half above that in training
    mode.
    """
    if len(t.heads) != 1 or t.ended_epochs < 0.5 * t.planned_epochs:
        return
    gap, trained = gaps(t), t.curve(q.PROBE_LOSS).finite
    if gap and trained and gap.values[-1] > _WIDE * abs(trained.values[-1]):
        return
    name = t.heads[0]["output"]
    found, counts = t.curve(q.PROBE_ACCURACY, name), _probe_counts(t, name)
    if not found or counts is None:
        return
    chance = float(counts.max() / counts.sum())
    form = str(t.targets.get(name, {}).get("form"))
    right = _ACCURACY_OF.get(form, "accuracy")
    for key in _accuracies(t):
        logged = t.logs(key)
        _, mine, theirs = np.intersect1d(
            logged.steps, found.steps, return_indices=True
        )
        seen, said = found.values[theirs], logged.values[mine]
        wrong = (said > seen + _OVERSTATED) & (seen < chance + _BY_CHANCE)
        of_classes = "top" in key or "categorical" in key
        if of_classes or not held(wrong, min(_CHECKS, max(len(wrong), 1))):
            continue
        at = Curve(*(column[mine] for column in logged))
        yield Evidence(
            key,
            at.since(wrong),
            (
                Measured(key, float(said[-1])),
                Measured(
                    "share of probe samples whose class is predicted",
                    float(seen[-1]),
                    float(said[-1]) - _OVERSTATED,
                ),
                Measured("share of the most frequent class", chance),
            ),
            f"Use an accuracy that counts samples: `{right}`.",
            f'metrics=["{right}"]',
            variant="overstated",
            why="The accuracy counts every entry that is correctly 0, not the "
            "samples whose class is predicted correctly."
            if form in ("one_hot", "multi_label")
            else "",
        )
        return


# By the form of labels of which each sample has one class.
_ACCURACY_OF = {
    "one_hot": "categorical_accuracy",
    "multi_label": "categorical_accuracy",
    "sparse": "sparse_categorical_accuracy",
}


def _probe_counts(t: Training, name: str) -> np.ndarray | None:
    """Samples of each class in the probe, if each sample has one class."""
    counts = t.curve(q.PROBE_CLASS_COUNT, name)
    if not counts:
        return None
    return counts.values[counts.steps == counts.steps[-1]]


def _accuracies(t: Training) -> list[str]:
    names = t._index.rows.get(str(q.LOG), {})
    return [
        name
        for name in names
        if is_accuracy(name) and not name.startswith("val_") and t.logs(name)
    ]
