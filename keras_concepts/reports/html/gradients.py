"""Gradients of a run, without the places where there was none."""

import numpy as np

from keras_concepts import quantities as q
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


def _measured(curve: Curve, count: Curve | None) -> Curve:
    """Without steps at which there was no gradient: its count is NaN there."""
    if count is None:
        return curve
    none = count.steps[np.isnan(count.values)]
    kept = ~np.isin(curve.steps, none)
    return Curve(*(column[kept] for column in curve))
