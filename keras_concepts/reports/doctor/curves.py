"""The curve that shows the evidence of a finding."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.rules import Finding, Measured, Training
from keras_concepts.rules.harm import reference_loss, skill
from keras_concepts.rules.training import Curve


class Ratio(NamedTuple):
    """One quantity over another of the same owner.

    Attributes:
        label: Name on the axis.
        above: Numerator.
        below: Denominator: the last value measured until then, or the first if
            it is larger.
        of_kernels: How kernels are combined for the run: the median or the
            largest.
    """

    label: str
    above: Quantity
    below: Quantity
    of_kernels: Callable[..., Any] = np.median


class Log(NamedTuple):
    """Values that `fit` logs under a key, at the end of each epoch."""

    key: str


class OfRun(NamedTuple):
    """A number of the whole run that is computed from several quantities."""

    label: str
    curve: Callable[[Training], Curve]


class Shown(NamedTuple):
    """A curve, and what belongs to it.

    Attributes:
        label: Name on the axis.
        curve: The measured values, all finite.
        threshold: Where the finding begins, if the curve is the quantity it is
            about.
    """

    label: str
    curve: Curve
    threshold: float | None


def _gap(t: Training) -> Curve:
    """Loss of the probe at inference minus that in training mode."""
    inference, training = t.curve(q.PROBE_INFERENCE_LOSS), t.curve(q.PROBE_LOSS)
    _, here, there = np.intersect1d(
        inference.steps, training.steps, return_indices=True
    )
    gap = Curve(*(column[here] for column in inference))
    return gap._replace(values=gap.values - training.values[there])


def _penalty_share(t: Training) -> Curve:
    """Penalty over the sum of penalty and loss of a constant prediction."""
    penalty, reference = t.curve(q.WEIGHT_PENALTY), reference_loss(t)
    if reference is None:
        return penalty
    share = penalty.values / (penalty.values + reference)
    return penalty._replace(values=share)


NOTHING = Curve(*np.zeros((4, 0)))
SKILL = "share of the loss removed"
Source = Quantity | Ratio | Log | OfRun
_UPDATES = (
    Ratio("RMS update over RMS weight", q.UPDATE_RMS, q.WEIGHT_RMS),
    Ratio("RMS change over RMS weight", q.EPOCH_UPDATE_RMS, q.EPOCH_WEIGHT_RMS),
)
_DISTANCE = Ratio(
    "distance from the start over RMS weight",
    q.DISTANCE_RMS,
    q.EPOCH_WEIGHT_RMS,
    np.max,
)
# What to draw as evidence for each rule: the first that was recorded.
_CURVES: dict[str, tuple[Source, ...]] = {
    "dead_units": (
        Ratio("share of dead units", q.ZERO_ACTIVATION_UNITS, q.UNITS),
        Ratio("share of dead units", q.ZERO_GRADIENT_UNITS, q.UNITS),
    ),
    "saturated_units": (
        Ratio("share of saturated units", q.SATURATED_UNITS, q.UNITS),
    ),
    "vanishing_gradient": (q.ERROR_ATTENUATION, q.ERROR_RMS, q.GRADIENT_RMS),
    "exploding_gradient": (*_UPDATES, q.GRADIENT_RMS, q.GRADIENT_NORM),
    "update_ratio:high": _UPDATES,
    "update_ratio:low": (_DISTANCE,),
    "untrained_variable": (_DISTANCE, q.DISTANCE_RMS, q.UPDATE_RMS),
    "frozen_body": (_DISTANCE, q.DISTANCE_RMS),
    "symmetric_init": (q.EQUAL_COLUMNS,),
    "no_progress": (OfRun(SKILL, skill),),
    "oscillating_loss": (q.BATCH_LOSS, Log("loss")),
    "overfitting": (Log("val_loss"),),
    "penalty_dominates": (
        OfRun("penalty / (penalty + constant's loss)", _penalty_share),
        q.PENALTY_SHARE,
    ),
    "batch_norm_shift": (
        OfRun("loss at inference - in training", _gap),
        q.INFERENCE_GAP,
        q.BATCH_NORM_SHIFT,
        q.BATCH_NORM_VARIANCE,
    ),
    "constant_predictions": (q.PREDICTION_SPREAD,),
    "class_collapse": (q.PREDICTED_SHARE, q.PROBE_ACCURACY),
    "initial_loss": (q.PROBE_INFERENCE_LOSS, q.PROBE_LOSS),
    "short_memory": (q.MEMORY_HORIZON,),
}
_LABELS: dict[str, str] = {
    q.ERROR_ATTENUATION: "error signal / the last layer's",
}
# How far a number may be off its curve: float32 rounding.
_CLOSE = 1e-3


def curve_of(finding: Finding, t: Training) -> Shown | None:
    """The measured quantity over time; `None` if there is no curve.

    A number with a threshold whose name is the name or label of a quantity, or
    the key of a log, belongs to that quantity. For others the rule decides what
    shows them. A threshold is drawn only if its number has the name of the
    curve or is one of its values: it might belong to something else.

    Args:
        finding: A finding with its evidence.
        t: The whole run.
    """
    numbers = [each for each in finding.evidence if each.threshold is not None]
    others = [each for each in finding.evidence if each.threshold is None]
    sources = [
        *_named(numbers),
        *_CURVES.get(f"{finding.rule}:{finding.variant}", ()),
        *_CURVES.get(finding.rule, ()),
        *_named(others),
    ]
    for source in sources:
        shown = _shown(source, finding, t)
        if shown is not None:
            return shown
    return None


def _named(numbers: Sequence[Measured]) -> Iterator[Source]:
    """Curves with the names of numbers."""
    for number in numbers:
        for quantity in q.QUANTITIES.values():
            if number.name in (str(quantity), quantity.label):
                yield quantity
        yield Log(number.name)


def _shown(source: Source, finding: Finding, t: Training) -> Shown | None:
    for owner in _owners(finding.owner, source, t):
        label, curve = _drawn(source, owner, t)
        curve = curve.finite
        if curve:
            threshold = _threshold(finding.evidence, label, curve)
            return Shown(label, curve, threshold)
    return None


def _owners(owner: str, source: Source, t: Training) -> list[str]:
    """Where to search: the owner itself, its weights, its layer, the run."""
    if isinstance(source, Log | OfRun):
        return [""]
    variables = [v for v in t.variables if v.get("layer") == owner]
    variables.sort(key=lambda v: v.get("role") != q.WEIGHT)
    outputs = [head for head in t.heads if head.get("layer") == owner]
    of_run = isinstance(source, Quantity) and source.owner == "run"
    return [
        owner,
        *(v["path"] for v in variables),
        *(v["layer"] for v in t.variables if v["path"] == owner),
        *(head["output"] for head in outputs),
        *([""] if of_run else []),
    ]


def _drawn(source: Source, owner: str, t: Training) -> tuple[str, Curve]:
    if isinstance(source, Log):
        return source.key, t.logs(source.key)
    if isinstance(source, OfRun):
        return source.label, source.curve(t)
    if isinstance(source, Ratio):
        return source.label, ratio_curve(source, owner, t)
    curve = t.curve(source, owner)
    if source.indexed_by:
        return f"largest {source.label}", _joint([curve], np.max)
    return _LABELS.get(source, source.label), curve


def ratio_curve(ratio: Ratio, owner: str, t: Training) -> Curve:
    """One quantity over another over time.

    Args:
        ratio: The ratio.
        owner: Owner; `""` for the combination of all kernels.
        t: The run.
    """
    owners = [owner] if owner else [v["path"] for v in t.kernels]
    ratios = [
        _quotient(t.curve(ratio.above, each), t.curve(ratio.below, each))
        for each in owners
    ]
    return _joint(ratios, ratio.of_kernels)


def _quotient(above: Curve, below: Curve) -> Curve:
    below = below.finite
    if not below:
        return NOTHING
    order = np.argsort(below.steps, kind="stable")
    values = below.values[order]
    at = np.searchsorted(below.steps[order], above.steps, side="right") - 1
    divisors = np.fmax(values[np.maximum(at, 0)], values[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return above._replace(values=above.values / divisors)


def _joint(curves: Sequence[Curve], reduced: Callable[..., Any]) -> Curve:
    """One value per step, of all classes, units or owners."""
    finite = [curve.finite for curve in [*curves, NOTHING]]
    epochs, steps, values, index = (
        np.concatenate([*column]) for column in zip(*finite, strict=True)
    )
    order = np.argsort(steps, kind="stable")
    shared, first = np.unique(steps[order], return_index=True)
    if len(shared) == len(steps):  # one value per step needs no reduction
        return Curve(epochs[order], shared, values[order], index[order])
    groups = np.split(values[order], first)[1:]
    return Curve(
        epochs[order][first],
        shared,
        np.array([float(reduced(group)) for group in groups]),
        index[order][first],
    )


def _threshold(
    evidence: Sequence[Measured], label: str, curve: Curve
) -> float | None:
    for number in evidence:
        value, threshold = number.value, number.threshold
        if threshold is None or isinstance(value, str):
            continue
        on_it = np.isclose(curve.values, value, rtol=_CLOSE, atol=0.0).any()
        if on_it or number.name.startswith(label):
            return float(threshold)
    return None
