"""Rules about how far a step moves the weights: the learning rate."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured, Position
from keras_concepts.rules.harm import harm
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training

# Share of the kernels' own size, in one step: usual is 1e-3 (Karpathy), healthy
# up to 0.1 (TheDeepChecker, 2022). Source: calibrated, benchmarks/doctor.
TOO_FAR = 0.3
# Share of the kernels' own size, by the first check after the start: nothing is
# left of what they were. Source: calibrated, benchmarks/doctor.
REPLACED = 0.85
# Share of a kernel's own size, by the planned end: it stays as random as it
# was. Source: calibrated, benchmarks/doctor.
TOO_NEAR = 0.1
_ENOUGH = 0.3
# Classes in `keras.optimizers`.
_OF_KERAS = (
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Ftrl"),
    *("Lamb", "Lion", "Muon", "Nadam", "RMSprop", "SGD"),
)


def has_weights(t: Training) -> bool:
    """Whether the weights were measured."""
    return bool(t.curves(q.DISTANCE_RMS))


@rule(
    "update_ratio",
    severity="warning",
    why="Steps that are too large overshoot the minimum; steps that are too "
    "small never reach it.",
    page="doctor.md#update_ratio",
    needs="weights that can be read",
    known=has_weights,
)
def update_ratio(t: Training) -> Iterator[Evidence]:
    """Steps change the kernels far too much, or far too little.

    - `high`: in one step, the RMS change relative to the RMS of the kernel,
      median over the kernels, was above 0.3; or, if steps are not measured, the
      kernels had changed by 0.85 of their RMS at the first check.
    - `low`: at the current pace, no kernel will have moved by a tenth of its
      RMS at the planned end.

    Reported only if there is harm. Known false alarms: kernels that start at
    zero, which have no initial size to compare with; guard: the larger of the
    first and the current RMS is used, and kernels that start at zero are
    ignored. Warm-up, in which the learning rate starts low; guard: there is no
    verdict on harm in the first tenth of the epochs.
    """
    hurt = harm(t, _ENOUGH)
    if hurt is None:
        return
    yield from _high(t)
    yield from _low(t)


def _high(t: Training) -> Iterator[Evidence]:
    ratios = step_ratios(t)
    beyond = np.flatnonzero(ratios.values > TOO_FAR)
    if len(beyond):
        number = Measured(
            "RMS update over RMS weight in one step, median over kernels",
            float(ratios.values.max()),
            TOO_FAR,
        )
        yield _too_high(t, ratios.at(int(beyond[0])), number)
    elif not ratios:
        between = _ratios_between_checks(t)
        if between and between.values[0] > REPLACED:
            number = Measured(
                "RMS change over RMS weight at the first check",
                float(between.values[0]),
                REPLACED,
            )
            yield _too_high(t, (0, 0), number)


def _too_high(t: Training, since: Position, number: Measured) -> Evidence:
    rate = learning_rate(t)
    advice = "Lower the learning rate tenfold"
    if rate is not None:
        advice += f"; it is {rate:.3g}"
    return Evidence(
        "",
        since,
        (number, *_rate(rate)),
        advice + ".",
        optimizer_code(t, 0.1 * rate if rate else 1e-3),
        variant="high",
    )


def _low(t: Training) -> Iterator[Evidence]:
    distances = {
        path: _relative(t, q.DISTANCE_RMS, path) for path in _kernels(t)
    }
    moved = [c for c in distances.values() if len(c.values) > 1]
    if not moved or not t.ended_epochs:
        return
    farthest = max(float(curve.values[-1]) for curve in moved)
    projected = farthest * t.planned_epochs / t.ended_epochs
    if farthest <= 0.0 or projected >= TOO_NEAR:
        return  # nothing moved at all: `untrained_variable`
    rate = learning_rate(t)
    advice = "Raise the learning rate"
    if rate is not None:
        advice += f"; it is {rate:.3g}"
    yield Evidence(
        "",
        (0, 0),
        (
            Measured(
                "projected change of the kernel that moves most by the planned "
                "end, over its RMS",
                projected,
                TOO_NEAR,
            ),
            *_rate(rate),
        ),
        advice + ". Adam usually starts at 1e-3, SGD at 1e-2.",
        optimizer_code(t, 10.0 * rate if rate else 1e-3),
        variant="low",
    )


def step_ratios(t: Training) -> Curve:
    """Median over kernels of update over weight, in each applied step."""
    applied = t.curve(q.APPLIED)
    updates, weights = t.curves(q.UPDATE_RMS), t.curves(q.WEIGHT_RMS)
    rows = []
    for path in _kernels(t):
        if path not in updates or path not in weights:
            continue
        size = own_size(weights[path])
        if size is None or len(size) != len(applied.values):
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            rows.append(updates[path].values / size)
    if not rows:
        return Curve(*(column[:0] for column in applied))
    ratios = np.array(rows)
    usable = (applied.values > 0) & np.isfinite(ratios).all(axis=0)
    curve = applied._replace(values=np.median(ratios, axis=0))
    return Curve(*(column[usable] for column in curve))


def own_size(weight: Curve) -> np.ndarray | None:
    """The RMS of a kernel over time, at least its first; `None` if that was 0.

    Args:
        weight: RMS of the kernel.
    """
    if not weight or not weight.values[0] > 0.0:
        return None
    return np.fmax(weight.values, weight.values[0])


def learning_rate(t: Training) -> float | None:
    """The rate at the end of the last epoch, or as compiled."""
    rates = t.curve(q.LEARNING_RATE)
    if rates:
        return float(rates.values[-1])
    _, config = _optimizer(t)
    rate = config.get("learning_rate")
    return float(rate) if isinstance(rate, int | float) else None


def optimizer_code(t: Training, rate: float, more: str = "") -> str:
    """A line of code: the optimizer of the run with another learning rate.

    Args:
        t: The run.
        rate: The learning rate.
        more: Further arguments, after a comma.
    """
    name, _ = _optimizer(t)
    prefix = "keras.optimizers." if name in _OF_KERAS else ""
    return f"{prefix}{name}(learning_rate={rate:.0e}{more})"


def _rate(rate: float | None) -> tuple[Measured, ...]:
    return () if rate is None else (Measured("learning rate", rate),)


def _optimizer(t: Training) -> tuple[str, dict[str, Any]]:
    """Class and config of the optimizer, without loss scaling around it."""
    facts = t.facts.get("optimizer") or {}
    name, config = facts.get("class"), facts.get("config") or {}
    inner = config.get("inner_optimizer")
    if isinstance(inner, dict):
        name, config = inner.get("class_name"), inner.get("config") or {}
    return name or "Adam", config


def _kernels(t: Training) -> list[str]:
    return [each["path"] for each in t.kernels]


def _relative(t: Training, quantity: q.Quantity, path: str) -> Curve:
    """A change relative to the larger of a kernel's first and current RMS."""
    change, weight = t.curve(quantity, path), t.curve(q.EPOCH_WEIGHT_RMS, path)
    size = own_size(weight)
    if size is None:
        return Curve(*(column[:0] for column in change))
    _, rows, sizes = np.intersect1d(
        change.steps, weight.steps, return_indices=True
    )
    change = Curve(*(column[rows] for column in change))
    return change._replace(values=change.values / size[sizes])


def _ratios_between_checks(t: Training) -> Curve:
    """Median over kernels of the change since the previous check."""
    curves = [_relative(t, q.EPOCH_UPDATE_RMS, path) for path in _kernels(t)]
    curves = [curve for curve in curves if len(curve.values) > 1]
    if not curves:
        return t.curve(q.EPOCH_UPDATE_RMS, "")
    length = min(len(curve.values) for curve in curves)
    values = np.median([curve.values[-length:] for curve in curves], axis=0)
    last = Curve(*(column[-length:] for column in curves[0]))
    return Curve(*(column[1:] for column in last._replace(values=values)))
