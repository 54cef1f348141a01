"""Whether predictions agree with labels, where the loss cannot tell.

A loss of somebody's own may fall while nothing is learned, and a `train_step`
of somebody's own may log nothing. What the model predicts of the probe then
speaks for the run, or against it: 0 if it knows no more of the labels than a
constant, 1 if it knows all.
"""

from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.training import Curve, Training

# So much more than before training have outputs of a class come together if
# they were made for that, and not to say which class it is. Source: this
# project; untrained networks part classes as well as trained ones do at times.
_PARTED = 0.1
# A change of the agreement that is none. Source: standard error of the square
# of a rank correlation of 256 rows.
RISEN = 0.05
# Of the agreement: so much had been learned before. Source: this project.
KNOWN = 0.5
# Of the targets' variance. Source: this project.
_LOST = 0.5
# Share of the variance that is explained, over that at the start where that
# was below -1, too. Source: this project.
_RUNAWAY = -100.0
# Labels of these are no values that an output could have.
_OF_SOMETHING_ELSE = ("CTC", "Circle")
# Difference of two losses over the larger, beyond rounding.
_ROUNDING = 1e-5


def unknown_head(t: Training) -> dict[str, Any] | None:
    """The only output, if its loss is somebody's own; else `None`."""
    if len(t.heads) != 1 or t.heads[0].get("loss") in _OF_SOMETHING_ELSE:
        return None
    [head] = t.heads
    own = head.get("kind") == "other" or bool(t.facts.get("own_step"))
    return head if own else None


def agreement(t: Training) -> Curve | None:
    """What predictions of the probe know of the labels, at each look.

    Of classes balanced accuracy beyond that of one class; or, where outputs of
    a class have come together since the start, how well they tell the classes
    apart: a model of rare classes may never predict one, and an output may be a
    place among others. Of numbers the share of the variance that is explained,
    or the square of the rank correlation, since a loss may want another scale;
    whichever is more. It may be below 0.

    Returns:
        `None` if every output has a loss of Keras, which tells more; if there
        are several outputs; or where outputs may be something else than
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
        "acc" in each for each in head.get("metrics") or ()
    )
    if not is_score and apart[0] > 1.0 - _PARTED:
        return None  # trained before, for whatever
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
    # Away from the targets, and ranked no better: what was known is chance.
    is_lost = (
        (explained < min(0.0, explained[0] - _LOST))
        & (squares < KNOWN)
        & (squares <= squares[0] + RISEN)
    )
    # Logits of answers grow while they are learned.
    if (t.targets.get(name, {}).get("distinct") or 0) > 2:
        is_lost |= explained < _RUNAWAY * max(-explained[0], 1.0)
    values = np.fmax(explained, np.where(is_lost, -np.inf, squares))
    return curve._replace(values=values)


def _squares(t: Training, name: str, ranks: np.ndarray) -> np.ndarray:
    """Squared rank correlations, negative where low stands for high.

    Unless the loss may want just that, as with risks and survival times, or
    distances that are small for pairs of a kind; or it is not known what it
    wants. Of a loss that does not look at the labels, ranks are chance.
    """
    if ignores_labels(t) == "without_labels":
        return np.full(len(ranks), -np.inf)
    target = t.targets.get(name, {})
    right, wrong = target.get("right_loss"), target.get("wrong_loss")
    if right is None or wrong is None or right > wrong:
        return ranks**2
    return ranks * np.abs(ranks)


def ignores_labels(t: Training) -> str | None:
    """Which labels a loss of somebody's own asks for, if not those given.

    Returns:
        `"without_labels"` if right predictions have no lower loss than those
        of other rows, `"reversed"` if they have a higher one, else `None`.
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
