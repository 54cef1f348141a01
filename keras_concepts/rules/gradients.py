"""Rules about gradients: vanishing, exploding, or none at all."""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import (
    data_loss,
    harm,
    reference_loss,
    scale_of_loss,
)
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held
from keras_concepts.rules.updates import (
    has_weights,
    learning_rate,
    optimizer_code,
    own_size,
)

# RMS error signal of the first layer relative to the last one's. Source:
# AUTOTRAINER (2021), 1e-3 for norms of gradients.
VANISHING = 1e-3
# RMS update relative to RMS weight of a kernel: in one step, it moves by more
# than its own size. Source: prototype.
JUMP = 1.0
# Loss relative to the lowest so far. Source: calibrated, benchmarks/doctor.
GROWTH = 3.0
_CHECKS = 3
_LEAST_STEPS = 16


def _has_errors(t: Training) -> bool:
    return bool(t.curves(q.ERROR_RMS))


@rule(
    "vanishing_gradient",
    severity="warning",
    why="Layers that no error signal reaches stay as they were initialized, "
    "and pass on random features.",
    page="monitors/gradient_monitor.md",
    needs="a probe batch with labels, and a model that can be called",
    known=_has_errors,
)
def vanishing_gradient(t: Training) -> Iterator[Evidence]:
    """The first layer gets under a thousandth of the last one's error signal.

    RMS(dL/da) of the first layer relative to the last one's, on the probe, is
    below 1e-3 in three checks in a row. Reported only if there is harm. Known
    false alarm: deep sigmoid networks that start to learn late, and residual
    paths that carry the signal past a branch; guard: harm, and only the first
    layer of the model is judged.
    """
    curves = {o: c for o, c in t.curves(q.ERROR_RMS).items() if o in t.layer}
    if len(curves) < 3:
        return
    owners = list(curves)
    ratio = _ratio(curves[owners[0]], curves[owners[-1]])
    # Exactly 0 means that the gradient is cut off: see `untrained_variable`.
    small = (ratio.values < VANISHING) & (ratio.values > 0.0)
    checks = min(_CHECKS, len(small))
    if checks < 2 or not held(small, checks) or harm(t, 0.3) is None:
        return
    yield Evidence(
        owners[0],
        ratio.since(small),
        (
            Measured(
                f"RMS error signal over that of {owners[-1]}",
                float(ratio.values[-1]),
                VANISHING,
            ),
            Measured("layers between", str(len(owners) - 2)),
        ),
        "Use ReLU with He initialization, batch normalization or residual "
        "connections in place of a deep stack of saturating activations.",
        'keras.layers.Dense(units, activation="relu", '
        'kernel_initializer="he_normal")',
    )


def _ratio(first: Curve, last: Curve) -> Curve:
    count = min(len(first.values), len(last.values))
    first = Curve(*(column[-count:] for column in first))
    below = last.values[-count:]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = first._replace(values=first.values / below)
    usable = np.isfinite(ratio.values) & (below > 0.0)
    return Curve(*(column[usable] for column in ratio))


@rule(
    "exploding_gradient",
    severity="warning",
    why="A single step that is far too large destroys what was learned, and "
    "often kills units.",
    page="doctor.md#exploding_gradient",
    needs="a loss in the logs, or measured steps",
    known=lambda t: bool(t.logs("loss") or t.curve(q.GRADIENT_NORM)),
)
def exploding_gradient(t: Training) -> Iterator[Evidence]:
    """A step changes a kernel by more than its own size, or the loss grows.

    RMS update relative to RMS weight of a kernel is above 1 in one measured
    step; or the loss of an epoch is above three times the lowest so far and
    above the constant predictor's. Reported only if there is harm. Known false
    alarms: kernels that start at zero; guard: they are ignored. The first steps
    of Adam, which move every weight by the learning rate; guard: harm; or, if a
    constant's loss is not known, the loss of the last epochs must be above that
    of the first step.
    """
    hurt = harm(t, 0.3)
    if hurt is None and not _is_worse_than_before(t):
        return
    jump = _largest_jump(t)
    if jump is not None:
        path, since, ratio = jump
        yield Evidence(
            path,
            since,
            (Measured("RMS update over RMS weight in one step", ratio, JUMP),),
            *_remedy(t),
        )
        return
    loss, reference = data_loss(t).finite, reference_loss(t)
    if len(loss.values) < 2 or reference is None:
        return
    least = np.minimum.accumulate(loss.values)
    grown = (loss.values > GROWTH * np.abs(least)) & (loss.values > reference)
    if grown[-1]:
        yield Evidence(
            "",
            loss.since(grown),
            _growth(float(loss.values[-1]), float(least[-1])),
            *_remedy(t),
        )


def _growth(loss: float, least: float) -> tuple[Measured, ...]:
    """How far a loss has risen; there is no ratio to one of 0 or below."""
    if least > 0.0:
        ratio = loss / least
        return (Measured("loss over the lowest so far", ratio, GROWTH),)
    return (
        Measured("loss", loss, GROWTH * abs(least)),
        Measured("lowest loss so far", least),
    )


def _is_worse_than_before(t: Training) -> bool:
    """Whether the loss, whose scale is not known, has only grown."""
    loss, first = data_loss(t), t.curve(q.BATCH_LOSS)
    if scale_of_loss(t) is not None or len(loss.values) < _CHECKS or not first:
        return False
    if first.steps[0] > loss.steps[0] or not first.values[0] > 0.0:
        return False
    return bool((loss.values[-_CHECKS:] > first.values[0]).all())


def _remedy(t: Training) -> tuple[str, str]:
    rate = learning_rate(t)
    text = "Lower the learning rate"
    if rate is not None:
        text += f" ({rate:.3g})"
    return (
        text + ", or clip the norm of the gradients.",
        optimizer_code(t, 0.1 * (rate or 1e-3), ", global_clipnorm=1.0"),
    )


def _largest_jump(t: Training) -> tuple[str, tuple[int, int], float] | None:
    found = None
    for kernel in t.kernels:
        path = kernel["path"]
        update = t.curve(q.UPDATE_RMS, path)
        size = own_size(t.curve(q.WEIGHT_RMS, path))
        if size is None or len(size) != len(update.values):
            continue
        with np.errstate(invalid="ignore"):
            ratio = update.values / size
        beyond = np.flatnonzero(ratio > JUMP)
        if len(beyond):
            at, largest = update.at(int(beyond[0])), float(np.nanmax(ratio))
            if found is None or at[1] < found[1][1]:
                found = path, at, largest
    return found


@rule(
    "untrained_variable",
    severity="warning",
    why="A variable that never changes is not trained, even if "
    "`model.summary()` counts it as trainable.",
    page="doctor.md#untrained_variable",
    needs="weights that can be read",
    known=has_weights,
)
def untrained_variable(t: Training) -> Iterator[Evidence]:
    """No entry of a trainable variable has changed.

    RMS(W - W at the start) is exactly 0 after 16 steps or more, or after the
    first update if gradients are accumulated over more. Reported only if there
    is harm. Known false alarms: an output without a loss, rows of an embedding
    that no batch uses, a learning rate of 0 in warm-up, parts of a model that
    are trained in turns; guard: harm, and only whole variables. Vectors that
    cancel out, such as a bias in the difference of two branches; guard: a
    vector counts only if every variable of its layer stands still.
    """
    trainable = {v["path"]: v for v in t.variables if v.get("trainable")}
    curves = {
        p: c for p, c in t.curves(q.DISTANCE_RMS).items() if p in trainable
    }
    accumulated, never = _accumulated_steps(t)
    least = _LEAST_STEPS if never else max(_LEAST_STEPS, accumulated)
    still = {path for path, curve in curves.items() if _is_still(curve, least)}
    whole = len(still) == len(curves)
    alive = {trainable[path].get("layer") for path in curves.keys() - still}
    still = [
        path
        for path in curves
        if path in still and counts_alone(trainable[path], alive)
    ]
    if not still or harm(t, 0.5) is None:
        return
    rate = learning_rate(t)
    if whole and never:
        advice = (
            f"Accumulate over fewer steps than {accumulated}: the run has too "
            "few steps for a single update."
        )
    elif whole:
        advice = (
            "Check the learning rate, and which optimizer trains the model."
        )
    else:
        advice = (
            "Connect the variable to the loss: call its layer, and let "
            "gradients pass (no `stop_gradient`, no rounding or argmax)."
        )
    yield Evidence(
        "" if whole else still[0],
        (0, 0),
        (
            Measured("largest change since the start", 0.0, 0.0),
            Measured("variables that never changed", str(len(still))),
            *(() if rate is None else (Measured("learning rate", rate),)),
            *(
                (Measured("gradient_accumulation_steps", accumulated),)
                if accumulated > 1
                else ()
            ),
        ),
        advice,
        "model.compile(keras.optimizers.Adam(1e-3), model.loss)"
        if whole
        else "x = layer(x)  # and use x for the output",
    )


def _accumulated_steps(t: Training) -> tuple[int, bool]:
    """Steps per update, and whether the whole run has fewer."""
    config = (t.facts.get("optimizer") or {}).get("config") or {}
    steps = config.get("gradient_accumulation_steps") or 1
    per_epoch = t.facts.get("steps_per_epoch")
    if steps == 1 or per_epoch is None:
        return steps, False
    return steps, per_epoch * t.planned_epochs < steps


def counts_alone(variable: dict[str, Any], alive: Collection[Any]) -> bool:
    """Whether it matters that a variable is not trained.

    Args:
        variable: Facts of the variable.
        alive: Layers of which some variable is trained: a vector of such a
            layer may cancel out by design.
    """
    if variable.get("role") in (q.WEIGHT, q.SCORE):
        return True
    return variable.get("layer") not in alive


def _is_still(curve: Curve, steps: int) -> bool:
    later = curve.steps >= curve.steps[0] + steps
    return later.any() and not curve.values[later].any()
