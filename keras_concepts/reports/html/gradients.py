"""Gradients of a run, without steps that had none."""

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.curves import NOTHING
from keras_concepts.rules import Training
from keras_concepts.rules.training import Curve


def gradients_of(
    t: Training, *, every_variable: bool = False
) -> dict[str, Curve]:
    """RMS gradient of each variable that ever had one, first layer first.

    Args:
        t: The run.
        every_variable: Keep biases and the vectors of normalization layers,
            which are otherwise left out unless there is nothing else.
    """
    counts = t.curves(q.GRADIENT_NONFINITE)
    curves = {
        path: _measured(curve, counts.get(path))
        for path, curve in t.curves(q.GRADIENT_RMS).items()
    }
    curves = {path: curve for path, curve in curves.items() if curve}
    roles = {each["path"]: each.get("role") for each in t.variables}
    weights = {
        path: curve
        for path, curve in curves.items()
        if roles.get(path) != q.VECTOR
    }
    return curves if every_variable else weights or curves


def attenuation_of(t: Training) -> Curve:
    """Error signal of the first layer over the last's, at each measurement.

    Without error signals, the same for the gradients of the weights. Empty if
    neither was measured, or there is only one layer.

    Args:
        t: The run.
    """
    errors = t.curves(q.ERROR_ATTENUATION)
    if len(errors) > 1:
        return next(iter(errors.values()))
    curves = [*gradients_of(t).values()]
    if len(curves) < 2:
        return NOTHING
    first, last = curves[0], curves[-1]
    _, here, there = np.intersect1d(
        first.steps, last.steps, return_indices=True
    )
    shared = Curve(*(column[here] for column in first))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = shared.values / last.values[there]
    return shared._replace(values=ratio)


def _measured(curve: Curve, count: Curve | None) -> Curve:
    """Without steps that had no gradient: the count is NaN there."""
    if count is None:
        return curve
    none = count.steps[np.isnan(count.values)]
    kept = ~np.isin(curve.steps, none)
    return Curve(*(column[kept] for column in curve))
