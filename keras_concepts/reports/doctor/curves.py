"""Which curve shows the evidence of a finding."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.rules import Finding, Measured, Training
from keras_concepts.rules.harm import skill
from keras_concepts.rules.training import Curve


class Ratio(NamedTuple):
    """One quantity over another of the same owner.

    Attributes:
        label: Name on the axis.
        above: Numerator.
        below: Denominator; of each value, the last one measured by then.
    """

    label: str
    above: Quantity
    below: Quantity


class Log(NamedTuple):
    """What `fit` logs under a key, at the end of each epoch."""

    key: str


class Shown(NamedTuple):
    """A curve, and what belongs to it.

    Attributes:
        label: Name on the axis.
        curve: What was measured, all finite.
        threshold: Where the finding begins, if the curve is what it is of.
    """

    label: str
    curve: Curve
    threshold: float | None


SKILL = "share of the loss removed"
Source = Quantity | Ratio | Log | Callable[[Training], Curve]
_UPDATES = (
    Ratio("RMS update / RMS weight", q.UPDATE_RMS, q.WEIGHT_RMS),
    Ratio("RMS change / RMS weight", q.EPOCH_UPDATE_RMS, q.EPOCH_WEIGHT_RMS),
)
# Of each rule whose evidence need not bear the name of a quantity: what to
# draw, the first that was recorded.
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
    "update_ratio": _UPDATES,
    "untrained_variable": (q.DISTANCE_RMS, q.EPOCH_UPDATE_RMS, q.UPDATE_RMS),
    "frozen_body": (q.DISTANCE_RMS,),
    "symmetric_init": (q.EQUAL_COLUMNS,),
    "no_progress": (skill,),
    "oscillating_loss": (q.BATCH_LOSS,),
    "overfitting": (Log("val_loss"),),
    "penalty_dominates": (q.PENALTY_SHARE, q.WEIGHT_PENALTY),
    "batch_norm_shift": (
        q.INFERENCE_GAP,
        q.BATCH_NORM_SHIFT,
        q.BATCH_NORM_VARIANCE,
    ),
    "constant_predictions": (q.PREDICTION_SPREAD,),
    "class_collapse": (q.PREDICTED_SHARE, q.PROBE_ACCURACY),
    "metric_disagrees": (
        Log("accuracy"),
        Log("binary_accuracy"),
        q.PROBE_ACCURACY,
    ),
    "initial_loss": (q.PROBE_LOSS, q.PROBE_INFERENCE_LOSS),
    "short_memory": (q.MEMORY_HORIZON,),
    "non_finite": (q.BATCH_LOSS,),
}
_LABELS: dict[str, str] = {
    q.ERROR_ATTENUATION: "error signal / the last layer's",
}
# How far a measured number may be off a curve that it is on: rounding.
_CLOSE = 0.02


def curve_of(finding: Finding, t: Training) -> Shown | None:
    """The measured quantity over time; `None` for what is no curve.

    A number that bears the name or label of a quantity is that quantity's. Of
    the others the rule says what shows them, and the threshold is drawn only
    where the number is among the curve's values: it might be of another.

    Args:
        finding: With its evidence.
        t: The whole run.
    """
    for number in finding.evidence:
        for quantity in q.QUANTITIES.values():
            if number.name in (str(quantity), quantity.label):
                shown = _shown(quantity, finding, t)
                if shown is not None:
                    return shown
    for source in _CURVES.get(finding.rule, ()):
        shown = _shown(source, finding, t)
        if shown is not None:
            return shown
    return None


def _shown(source: Source, finding: Finding, t: Training) -> Shown | None:
    for owner in _owners(finding.owner, t):
        label, curve = _drawn(source, owner, t)
        curve = curve.finite
        if len(np.unique(curve.steps)):
            return Shown(label, curve, _threshold(finding.evidence, curve))
    return None


def _drawn(source: Source, owner: str, t: Training) -> tuple[str, Curve]:
    if isinstance(source, Quantity):
        curve = t.curve(source, owner)
        if source.indexed_by:
            return f"largest {source.label}", _largest(curve)
        return _LABELS.get(source, source.label), curve
    if isinstance(source, Log):
        return source.key, t.logs(source.key)
    if isinstance(source, Ratio):
        return source.label, _ratio(source, owner, t)
    return SKILL, source(t)


def _ratio(ratio: Ratio, owner: str, t: Training) -> Curve:
    above, below = t.curve(ratio.above, owner), t.curve(ratio.below, owner)
    if not above or not below:
        return Curve(*(column[:0] for column in above))
    order = np.argsort(below.steps, kind="stable")
    at = np.searchsorted(below.steps[order], above.steps, side="right") - 1
    divisors = below.values[order][np.maximum(at, 0)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return above._replace(values=above.values / divisors)


def _largest(curve: Curve) -> Curve:
    """Of all classes, units or lags, the largest at each step."""
    steps, first = np.unique(curve.steps, return_index=True)
    largest = [curve.values[curve.steps == step].max() for step in steps]
    return Curve(
        curve.epochs[first], steps, np.array(largest), curve.index[first]
    )


def _owners(owner: str, t: Training) -> Iterator[str]:
    """Where to look: the owner itself, its weights, its layer, the run."""
    yield owner
    variables = [v for v in t.variables if v.get("layer") == owner]
    variables.sort(key=lambda v: v.get("role") != q.WEIGHT)
    yield from (v["path"] for v in variables)
    yield from (v["layer"] for v in t.variables if v["path"] == owner)
    yield ""


def _threshold(evidence: tuple[Measured, ...], curve: Curve) -> float | None:
    low, high = float(curve.values.min()), float(curve.values.max())
    slack = _CLOSE * max(abs(low), abs(high))
    for number in evidence:
        value, threshold = number.value, number.threshold
        if threshold is None or isinstance(value, str):
            continue
        if low - slack <= value <= high + slack:
            return float(threshold)
    return None
