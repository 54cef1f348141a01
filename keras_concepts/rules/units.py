"""Rules on units: dead ones, saturated ones."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held

# Of the units of a layer. Source: SageMaker Debugger and DeepDiagnosis, of
# units in place of entries.
MOST = 0.5
_CHECKS = 3
_RECTIFIED = {"relu", "relu6"}
_BOUNDED = {"sigmoid", "tanh", "hard_sigmoid", "softsign", "hard_tanh"}


@rule(
    "dead_units",
    severity="warning",
    why="A rectified unit that is 0 for every sample has no gradient, and "
    "never comes back.",
    page="signals.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ZERO_ACTIVATION_UNITS)),
)
def dead_units(t: Training) -> Iterator[Evidence]:
    """More than half of a rectified layer is 0 for every sample of the probe.

    In three checks in a row, and only under harm. Known false alarm: sparse
    activations; guard: units count, not entries. Layers that are not
    rectified, and heads, do not count.
    """
    yield from _worst(
        t,
        q.ZERO_ACTIVATION_UNITS,
        _RECTIFIED,
        "units that are 0 in every sample, share",
        "Lower the learning rate, scale the inputs, or use an activation whose "
        "negative side has a gradient.",
        'keras.layers.Dense(units, activation="leaky_relu")',
        enough=0.3,
    )


@rule(
    "saturated_units",
    severity="warning",
    why="Where an activation is flat its slope is near 0, and so is the "
    "gradient of all layers before it.",
    page="signals.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ACTIVATION_RMS)),
)
def saturated_units(t: Training) -> Iterator[Evidence]:
    """More than half of a bounded layer is nearly flat for most samples.

    In more than 90 % of samples the slope is less than 5 % of the steepest, in
    three checks in a row, and only under harm. Known false alarm: outputs and
    gates, which saturate when they are sure; guard: hidden layers alone,
    recurrent ones not.
    """
    yield from _worst(
        t,
        q.SATURATED_UNITS,
        _BOUNDED,
        "units whose activation is nearly flat, share",
        "Scale the inputs, lower the learning rate or the initial weights, or "
        "use ReLU.",
        'keras.layers.Dense(units, activation="relu", '
        'kernel_initializer="he_normal")',
        enough=0.3,
    )


def _worst(
    t: Training,
    quantity: Quantity,
    functions: set[str],
    name: str,
    advice: str,
    code: str,
    *,
    enough: float,
) -> Iterator[Evidence]:
    found: list[tuple[str, Curve]] = []
    units = t.curves(q.UNITS)
    heads = {head.get("layer") for head in t.heads}
    for owner, counts in t.curves(quantity).items():
        layer = t.layer.get(owner, {})
        if layer.get("activation") not in functions or owner in heads:
            continue
        if "recurrent_activation" in layer or owner not in units:
            continue
        shares = counts._replace(values=counts.values / units[owner].values[-1])
        checks = min(_CHECKS, len(shares.values))
        if checks >= 2 and held(shares.values > MOST, checks):
            found.append((owner, shares))
    if not found or harm(t, enough) is None:
        return
    owner, shares = found[0]
    yield Evidence(
        owner,
        shares.since(shares.values > MOST),
        (
            Measured(name, float(shares.values[-1]), MOST),
            Measured("layers", str(len(found))),
        ),
        advice,
        code,
    )


def perplexity(shares: np.ndarray) -> float:
    """Number of equally frequent classes with the entropy of these shares."""
    shares = shares[shares > 0.0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
