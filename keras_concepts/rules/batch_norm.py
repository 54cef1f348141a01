"""Rule about batch normalization: training against inference."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import reference_loss
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training, held

# Share of the constant predictor's loss. Source: prototype on 130 recorded
# runs.
GAP = 0.5
# Share of their first value that moving averages still hold at the planned end.
# Source: this project.
STILL_INITIAL = 0.1
_CHECKS = 3


def _layers(t: Training) -> list[dict[str, object]]:
    return [x for x in t.layers if x["class"].endswith("BatchNormalization")]


@rule(
    "batch_norm_shift",
    severity="warning",
    why="At inference the model is not the one that was trained: its moving "
    "statistics do not match the data.",
    page="monitors/batch_norm_shift_monitor.md",
    needs="a probe batch with labels",
    known=lambda t: bool(_layers(t)) and bool(t.curve(q.PROBE_INFERENCE_LOSS)),
    meant=lambda t: not t.layers or bool(_layers(t)),
)
def batch_norm_shift(t: Training) -> Iterator[Evidence]:
    """The same batch has a far higher loss at inference than in training.

    In three checks, the loss of the probe at inference minus that in training
    mode is above half of the constant predictor's loss. Known false alarm: the
    first few hundred steps, in which moving averages still hold their initial
    values; guard: reported only if momentum**(planned steps) is above 0.1, or
    after half of the epochs.
    """
    reference = reference_loss(t)
    gap = gaps(t)
    if reference is None or not gap:
        return
    wide = gap.values > GAP * reference
    checks = min(_CHECKS, len(wide))
    remaining = remaining_share(t)
    late = t.ended_epochs >= 0.5 * t.planned_epochs
    if not held(wide, checks) or not (late or remaining > STILL_INITIAL):
        return
    owner = str(_layers(t)[0]["path"])
    numbers = [
        Measured(
            "loss at inference minus loss in training mode, same batch",
            float(gap.values[-1]),
            GAP * reference,
        )
    ]
    if remaining > 0.01:
        numbers.append(
            Measured(
                "share of the initial moving statistics left at the end",
                remaining,
                STILL_INITIAL,
            )
        )
    yield Evidence(
        owner,
        gap.since(wide),
        tuple(numbers),
        "Lower the momentum, train for more steps, or re-estimate the "
        "statistics after training.",
        "keras.layers.BatchNormalization(momentum=0.9)"
        if remaining > STILL_INITIAL
        else "kc.recalibrate_batch_norm(model, data)",
    )


def gaps(t: Training) -> Curve:
    """Loss of the probe at inference minus that in training mode."""
    training, inference = t.curve(q.PROBE_LOSS), t.curve(q.PROBE_INFERENCE_LOSS)
    shared, first, second = np.intersect1d(
        training.steps, inference.steps, return_indices=True
    )
    curve = Curve(*(column[second] for column in inference))
    curve = curve._replace(
        values=inference.values[second] - training.values[first]
    )
    trained = np.isfinite(curve.values) & (shared > 0)
    return Curve(*(column[trained] for column in curve))


def remaining_share(t: Training) -> float:
    """Share of their first value that moving averages still hold at the end."""
    steps = (t.facts.get("steps_per_epoch") or 0) * t.planned_epochs
    momenta = [
        float(layer["momentum"])  # type: ignore[arg-type]
        for layer in _layers(t)
        if "momentum" in layer
    ]
    return max(momenta) ** steps if momenta and steps else 0.0
