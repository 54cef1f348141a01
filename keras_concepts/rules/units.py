"""Rules about dead and saturated units."""

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
# Share of a layer's units that were saturated before the first step, and still
# are.
_NEARLY_ALL = 0.9
# RMS of a kernel times the square root of its number of inputs, which
# initializers set to 1.
_HUGE = 100.0
# Skill that a run should reach if units were saturated before the first step.
# Source: calibrated, benchmarks/doctor.
FROM_THE_START = 0.75
_CHECKS = 3
_RECTIFIED = {"relu", "relu6"}
_BOUNDED = {"sigmoid", "tanh", "hard_sigmoid", "softsign", "hard_tanh"}
_RECURRENT = ("LSTM", "GRU")


@rule(
    "dead_units",
    severity="warning",
    why="A ReLU unit that outputs 0 for every sample gets no gradient and "
    "cannot recover.",
    page="monitors/signal_monitor.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ZERO_ACTIVATION_UNITS)),
)
def dead_units(t: Training) -> Iterator[Evidence]:
    """Over half of a ReLU layer's units output 0 for every probe sample.

    In three checks in a row, and only if there is harm. Known false alarm:
    sparse activations; guard: units are counted, not entries. Layers without a
    ReLU, and heads, are ignored.
    """
    yield from _worst(
        t,
        q.ZERO_ACTIVATION_UNITS,
        _RECTIFIED,
        "share of units that are 0 for every sample",
        "Lower the learning rate, scale the inputs, or use an activation that "
        "has a gradient for negative inputs.",
        'keras.layers.Dense(units, activation="leaky_relu")',
        enough=0.3,
    )


@rule(
    "saturated_units",
    severity="warning",
    why="Where an activation function is flat, its slope is close to 0, and so "
    "is the gradient of every layer before it.",
    page="monitors/signal_monitor.md",
    needs="a probe batch, and a model that can be called",
    known=lambda t: bool(t.curves(q.ACTIVATION_RMS)),
)
def saturated_units(t: Training) -> Iterator[Evidence]:
    """Over half of a layer's units are saturated for most samples.

    A unit is saturated if, for more than 90 % of the samples, the slope of its
    bounded activation function is less than 5 % of the steepest. In three
    checks in a row, and only if there is harm. If nine of ten units were
    saturated before the first step, and still are, the layer passes on random
    signs: a skill of 0.75 is then required. Gates of a recurrent layer count as
    saturated if its kernel starts at a hundred times the usual size.

    Known false alarm: outputs and gates, which saturate when they are
    confident; guard: only hidden layers that are not recurrent are judged.
    """
    yield from _worst(
        t,
        q.SATURATED_UNITS,
        _BOUNDED,
        "share of units that are saturated",
        "Scale the inputs, lower the learning rate, start with smaller "
        "weights, or use ReLU.",
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
                    "RMS of the initial kernel times sqrt(number of inputs)",
                    scale,
                    _HUGE,
                ),
            ),
            "Initialize the kernels with smaller weights: saturated gates "
            "neither open nor close.",
            f"{_name(layer['class'])}(units, "
            'kernel_initializer="glorot_uniform")',
            variant="gates",
        )
        return


def _name(kind: str) -> str:
    """A recurrent layer in code; its class may be the user's own."""
    return f"keras.layers.{kind}" if kind in _RECURRENT else kind


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
            Measured("affected layers", str(len(found))),
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
    """Whether nearly all units of a layer have always been saturated."""
    layers = _shares(t, q.SATURATED_UNITS, _BOUNDED)
    return any(_is_so_from_the_start(shares) for _, shares in layers)


def _is_so_from_the_start(shares: Curve) -> bool:
    is_flat = shares.values > _NEARLY_ALL
    return bool(shares.epochs[0] < 0 and len(is_flat) > 2 and is_flat.all())


def perplexity(shares: np.ndarray) -> float:
    """Number of equally frequent classes with the entropy of these shares."""
    shares = shares[shares > 0.0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
