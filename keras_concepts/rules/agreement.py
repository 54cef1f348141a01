"""Whether predictions agree with labels, where the loss does not show it.

A custom loss may fall while nothing is learned, and a custom `train_step` may
log nothing. The agreement of predictions on the probe with the labels is then
the evidence: 0 if the model knows no more about the labels than a constant
prediction, 1 if it knows everything.
"""

import re
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.training import Curve, Training

# If the separation has risen by this much since the start, the outputs count as
# trained to bring samples of a class together, not to name the class. Source:
# this project; untrained networks sometimes separate classes as well as trained
# ones do.
_PARTED = 0.1
# Changes of the agreement up to this size are ignored. Source: standard error
# of the square of a rank correlation of 256 rows.
RISEN = 0.05
# With this agreement or more, much had been learned before. Source: this
# project.
KNOWN = 0.5
# Share of the targets' variance. Source: this project.
_LOST = 0.5
# Explained share of the variance, relative to that at the start if that was
# below -1. Source: this project.
_RUNAWAY = -100.0
# Labels of these losses are not values that an output could have.
_OF_SOMETHING_ELSE = ("CTC", "Circle")
# Words in the names of metrics: two in `BinaryAccuracy`.
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")
_ACCURACIES = {"acc", "accuracy"}
_ERRORS = {"error", "mse", "mae", "rmse", "mape", "msle", "loss"}
# Difference of two losses relative to the larger one; smaller is rounding.
_ROUNDING = 1e-5


def is_accuracy(name: str) -> bool:
    """Whether a metric of this name is an accuracy.

    `acceleration_error` is not, and neither is `acc_error`.
    """
    words = {word.lower() for word in _WORD.findall(name)}
    return bool(words & _ACCURACIES) and not words & _ERRORS


def unknown_head(t: Training) -> dict[str, Any] | None:
    """The only output, if its loss is a custom one, else `None`."""
    if len(t.heads) != 1 or t.heads[0].get("loss") in _OF_SOMETHING_ELSE:
        return None
    [head] = t.heads
    own = head.get("kind") == "other" or bool(t.facts.get("own_step"))
    return head if own else None


def agreement(t: Training) -> Curve | None:
    """How well predictions of the probe agree with the labels, at each check.

    For classes, it is the balanced accuracy beyond that of predicting a single
    class; or, if the outputs of a class have moved together since the start,
    how well they separate the classes: a model of rare classes may never
    predict one, and an output may be a position relative to others. For
    numbers, it is the share of the variance that is explained or the square of
    the rank correlation, whichever is larger, since a loss may use another
    scale. It may be below 0.

    Returns:
        `None` if every output has a Keras loss, which says more; if there are
        several outputs; or if the outputs may be something other than
        predictions of the labels.
    """
    head = unknown_head(t)
    if head is None:
        return None
    if t.curve(q.PROBE_BALANCED_ACCURACY, head["output"]):
        return _of_classes(t, head)
    return _of_numbers(t, head["output"])


def _of_classes(t: Training, head: dict[str, Any]) -> Curve | None:
    name = head["output"]
    accuracy = t.curve(q.PROBE_BALANCED_ACCURACY, name)
    parted = t.curve(q.PROBE_SEPARATION, name)
    if len(parted.values) != len(accuracy.values):
        return None
    counts = t.curve(q.PROBE_CLASS_COUNT, name)
    first = counts.values[counts.steps == counts.steps[0]]
    chance = 1.0 / max(int((first > 0).sum()), 2)
    values = (accuracy.values - chance) / (1.0 - chance)
    apart = (parted.values - chance) / (1.0 - chance)
    is_score = head.get("activation") == "softmax" or any(
        map(is_accuracy, head.get("metrics") or ())
    )
    if not is_score and apart[0] > 1.0 - _PARTED:
        return None  # it was trained before, for whatever task
    if ignores_labels(t) != "reversed":
        has_parted = apart > apart[0] + _PARTED
        values = np.where(has_parted, np.fmax(values, apart), values)
    return accuracy._replace(values=values)


def _of_numbers(t: Training, name: str) -> Curve | None:
    curve = t.curve(q.PROBE_EXPLAINED, name)
    ranks = t.curve(q.PROBE_RANK_CORRELATION, name)
    if not curve or len(ranks.values) != len(curve.values):
        return None
    explained = curve.values
    squares = _squares(t, name, ranks.values)
    # Far from the targets and ranked no better: what was known was chance.
    is_lost = (
        (explained < min(0.0, explained[0] - _LOST))
        & (squares < KNOWN)
        & (squares <= squares[0] + RISEN)
    )
    # Logits of yes-or-no labels grow while they are learned.
    if (t.targets.get(name, {}).get("distinct") or 0) > 2:
        is_lost |= explained < _RUNAWAY * max(-explained[0], 1.0)
    values = np.fmax(explained, np.where(is_lost, -np.inf, squares))
    return curve._replace(values=values)


def _squares(t: Training, name: str, ranks: np.ndarray) -> np.ndarray:
    """Squared rank correlations, negative if low predictions mean high labels.

    They are not negative if the loss may reward exactly that, as for risks and
    survival times, or for distances that are small for similar pairs; or if
    what it rewards is not known. If the loss ignores the labels, the ranks are
    due to chance.
    """
    if ignores_labels(t) == "without_labels":
        return np.full(len(ranks), -np.inf)
    target = t.targets.get(name, {})
    right, wrong = target.get("right_loss"), target.get("wrong_loss")
    if right is None or wrong is None or right > wrong:
        return ranks**2
    return ranks * np.abs(ranks)


def ignores_labels(t: Training) -> str | None:
    """Whether a custom loss ignores the labels or wants their opposite.

    Returns:
        `"without_labels"` if the loss of correct predictions is no lower than
        that of the predictions of other rows, `"reversed"` if it is higher,
        else `None`.
    """
    head = unknown_head(t)
    if head is None:
        return None
    target = t.targets.get(head["output"], {})
    right, wrong = target.get("right_loss"), target.get("wrong_loss")
    if right is None or wrong is None:
        return None
    apart = _ROUNDING * max(abs(right), abs(wrong))
    if right > wrong + apart:
        return "reversed"
    return "without_labels" if right >= wrong - apart else None
