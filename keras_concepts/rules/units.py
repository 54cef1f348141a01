"""Rules on units: dead ones, saturated ones."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held

# Share of the units of a layer. Source: SageMaker Debugger and DeepDiagnosis,
# for units instead of entries.
MOST = 0.5
# Share of a layer's units that were flat before the first step, and still are.
_NEARLY_ALL = 0.9
# RMS of a kernel times the root of its inputs, which initializers set to 1.
_HUGE = 100.0
# Skill that a run should reach if units were flat before the first step.
# Source: calibrated, benchmarks/doctor.
FROM_THE_START = 0.75
_CHECKS = 3
_RECTIFIED = {"relu", "relu6"}
_BOUNDED = {"sigmoid", "tanh", "hard_sigmoid", "softsign", "hard_tanh"}


@rule(
    "dead_units",
    severity="warning",
    why="A rectified unit that is 0 for every sample has no gradient, and "
    "never comes back.",
    page="monitors/signal_monitor.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ZERO_ACTIVATION_UNITS)),
)
def dead_units(t: Training) -> Iterator[Evidence]:
    """More than half of a rectified layer is 0 for every sample of the probe.

    In three checks in a row, and only with harm. Known false alarm: sparse
    activations; guard: units count, not entries. Layers that are not rectified,
    and heads, do not count.
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
    page="monitors/signal_monitor.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ACTIVATION_RMS)),
)
def saturated_units(t: Training) -> Iterator[Evidence]:
    """More than half of a bounded layer is nearly flat for most samples.

    In more than 90 % of samples the slope is less than 5 % of the steepest, in
    three checks in a row, and only with harm. If nine of ten units were flat
    before the first step, and still are, the layer passes on random signs: then
    a skill of three quarters is required. Gates of a recurrent layer count as
    flat if it begins with kernels of a hundred times the usual size.

    Known false alarm: outputs and gates, which saturate when they are
    confident;
    guard: only hidden layers, and no recurrent ones.
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
        enough_from_the_start=FROM_THE_START,
    )
    yield from _flat_gates(t)


def _flat_gates(t: Training) -> Iterator[Evidence]:
    for variable in t.kernels:
        layer = t.layer.get(variable.get("layer") or "", {})
        shape = variable.get("shape") or ()
        size = t.curve(q.EPOCH_WEIGHT_RMS, variable["path"])
        if "recurrent_activation" not in layer or len(shape) != 2:
            continue
        if not size or size.epochs[0] >= 0:
            continue
        scale = float(size.values[0] * np.sqrt(shape[0]))
        if scale < _HUGE or harm(t, FROM_THE_START) is None:
            continue
        yield Evidence(
            variable["path"],
            (0, 0),
            (
                Measured(
                    "RMS of the initial kernel times root of its inputs",
                    scale,
                    _HUGE,
                ),
            ),
            "Initialize the kernels with smaller numbers: gates that are flat "
            "neither open nor close.",
            f'{layer["class"]}(units, kernel_initializer="glorot_uniform")',
            variant="gates",
        )
        return


def _worst(
    t: Training,
    quantity: Quantity,
    functions: set[str],
    name: str,
    advice: str,
    code: str,
    *,
    enough: float,
    enough_from_the_start: float | None = None,
) -> Iterator[Evidence]:
    found = [
        (owner, shares)
        for owner, shares in _shares(t, quantity, functions)
        if held(shares.values > MOST, max(min(_CHECKS, len(shares.values)), 2))
    ]
    if not found:
        return
    always = [each for each in found if _is_so_from_the_start(each[1])]
    if always and enough_from_the_start is not None:
        found, enough = always, enough_from_the_start
    if harm(t, enough) is None:
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


def _shares(
    t: Training, quantity: Quantity, functions: set[str]
) -> Iterator[tuple[str, Curve]]:
    """For each hidden layer with such a function, the share of its units."""
    units = t.curves(q.UNITS)
    heads = {head.get("layer") for head in t.heads}
    for owner, counts in t.curves(quantity).items():
        layer = t.layer.get(owner, {})
        if layer.get("activation") not in functions or owner in heads:
            continue
        if "recurrent_activation" in layer or owner not in units:
            continue
        count = units[owner].values[-1]
        yield owner, counts._replace(values=counts.values / count)


def is_saturated_from_the_start(t: Training) -> bool:
    """Whether nearly all units of a layer have been flat all along."""
    layers = _shares(t, q.SATURATED_UNITS, _BOUNDED)
    return any(_is_so_from_the_start(shares) for _, shares in layers)


def _is_so_from_the_start(shares: Curve) -> bool:
    is_flat = shares.values > _NEARLY_ALL
    return bool(shares.epochs[0] < 0 and len(is_flat) > 2 and is_flat.all())


def perplexity(shares: np.ndarray) -> float:
    """Number of equally frequent classes with the entropy of these shares."""
    shares = shares[shares > 0.0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
