"""Whether the model can start to learn: what trains, and from what weights."""

import math
from collections.abc import Iterator

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.heads import judged_heads, predictions
from keras_concepts.rules.rule import rule
from keras_concepts.rules.start import (
    ENOUGH,
    HIGH,
    HIGHER,
    first_loss,
    hurts,
    uniform_loss,
    was_not_learned,
)
from keras_concepts.rules.training import Training

# Share of the kernels' entries that are frozen. Source: this project.
_FROZEN = 0.5


@rule(
    "frozen_body",
    severity="warning",
    why="Frozen layers cannot learn; only the layers trained after them can "
    "fit the data.",
    page="doctor.md#frozen_body",
    needs="the variables",
    known=lambda t: bool(t.variables),
)
def frozen_body(t: Training) -> Iterator[Evidence]:
    """Half of the kernels' entries or more are frozen, and that does harm.

    Reported at once if no variable is trainable although a head has a loss.
    Known false alarm: a pretrained body, frozen on purpose, under a head that
    learns; so otherwise reported only if there is harm (skill < 0.2), or in a
    preflight if one batch could not be learned.
    """
    kernels = [v for v in t.variables if v.get("role") == q.WEIGHT]
    sizes = [math.prod(v["shape"]) for v in kernels]
    frozen = [
        size
        for size, v in zip(sizes, kernels, strict=True)
        if not v.get("trainable")
    ]
    share = sum(frozen) / sum(sizes) if sum(sizes) else 0.0
    nothing = bool(kernels) and not any(v.get("trainable") for v in t.variables)
    if share < _FROZEN or not judged_heads(t):
        return
    if not nothing and not hurts(t, ENOUGH):
        return
    layers = [
        v["layer"] for v in kernels if not v.get("trainable") and v["layer"]
    ]
    yield Evidence(
        owner=layers[-1] if layers else "",
        since=(0, 0),
        measured=(
            Measured("share of frozen kernel entries", share, _FROZEN),
            Measured("frozen kernels", len(frozen)),
            Measured("trainable kernels", len(kernels) - len(frozen)),
        ),
        advice="Set `trainable = True`, at least for the last layers, and "
        "compile again with a small learning rate.",
        code="body.trainable = True; "
        "model.compile(keras.optimizers.Adam(1e-5), model.loss)",
    )


@rule(
    "initial_loss",
    severity="warning",
    why="An untrained model should be unsure; one that is confident in wrong "
    "classes must first unlearn that.",
    page="doctor.md#initial_loss",
    needs="the loss of the probe before the first step",
    known=lambda t: first_loss(t) is not None and uniform_loss(t) is not None,
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def initial_loss(t: Training) -> Iterator[Evidence]:
    """The loss before the first step is far above that of a uniform guess.

    It is more than twice that of uniform class probabilities, and there is harm
    (skill < 0.2); in a preflight, more than three times. The reference is ln C,
    not the entropy of the class shares, which would report every imbalance. A
    Glorot-initialized head on inputs of unit variance starts at up to ln C + 1.

    Known false alarms: models that were trained before on other labels; guard:
    harm. Batch normalization, whose moving statistics do not yet fit the data,
    and whose batch may hardly vary; guard: the smaller of the losses with
    moving and with batch statistics is used, and in a preflight one batch could
    not be learned.
    """
    first, uniform = first_loss(t), uniform_loss(t)
    if first is None or uniform is None or not math.isfinite(first):
        return
    limit = HIGHER if t.is_preflight else HIGH
    ratio = first / uniform
    if ratio <= limit or not hurts(t, ENOUGH, alone=True):
        return
    if t.is_preflight and _uses_batch(t) and not was_not_learned(t):
        return
    heads = [h for h in t.heads if predictions(t, h["output"])]
    seen = predictions(t, heads[0]["output"]) if heads else None
    yield Evidence(
        owner="",
        since=(0, 0),
        measured=(
            Measured("loss before the first step", first, limit * uniform),
            Measured("loss of uniform predictions", uniform),
            *(
                [Measured("largest prediction", seen.high)]
                if seen is not None
                else []
            ),
        ),
        advice="Scale the inputs, and initialize the last layer with smaller "
        "weights.",
        code='keras.layers.Dense(classes, kernel_initializer="glorot_uniform")',
    )


def _uses_batch(t: Training) -> bool:
    """Whether batch normalization makes the outputs depend on the batch."""
    return any("BatchNormalization" in layer["class"] for layer in t.layers)


# Columns that are equal in this many checks stay equal. Source: this project.
_CHECKS = 2


@rule(
    "symmetric_init",
    severity="error",
    why="Units that start equal get equal gradients and stay equal, so the "
    "layer works as if it had one unit.",
    page="doctor.md#symmetric_init",
    needs="the weights at the start and later",
    known=lambda t: bool(t.curves(q.EQUAL_COLUMNS)),
)
def symmetric_init(t: Training) -> Iterator[Evidence]:
    """All units of a kernel start with equal weights and stay equal.

    In training, they are equal at the first check and at every check since, at
    least two of them after the first step. In a preflight, they are equal, and
    so are their gradients.

    Certain, so reported without harm. Known false alarms: a head that starts
    with zeros, or the last layer of a residual branch, whose units differ after
    the first step; kernels of one unit and frozen kernels are ignored.
    """
    gradients = (t.facts.get("checks") or {}).get("equal_gradients") or {}
    for variable in t.kernels:
        path, shape = variable["path"], variable["shape"]
        curve = t.curve(q.EQUAL_COLUMNS, path)
        if not curve or len(shape) < 2 or shape[-1] < 2:
            continue
        if curve.values.min() < 1.0:
            continue
        later = int((curve.steps > 0).sum())
        if t.is_preflight:
            if not gradients.get(path):
                continue
        elif later < _CHECKS:
            continue
        yield Evidence(
            owner=path,
            since=(0, 0),
            measured=(
                Measured("share of units equal to the first", 1.0, 1.0),
                Measured("units", shape[-1]),
            ),
            advice="Initialize the kernel with random numbers.",
            code='kernel_initializer="glorot_uniform"',
            part=path,
        )
