"""Rules about regularization that is too strong."""

from collections.abc import Iterator

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm, reference_loss
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training, held

# Share of the loss: beyond it, more is asked of the weights than of the
# predictions. Source: this project.
DOMINANT = 0.5
# RMS of the kernels relative to that at the start. Source: calibrated.
SHRUNK = 0.3
# Share of the units that are dropped. Source: Srivastava et al. (2014) drop
# half of the hidden units; accuracy falls above 0.7 (their figure 9a).
MOST_DROPPED = 0.7
_CHECKS = 3


@rule(
    "penalty_dominates",
    severity="warning",
    why="The model learns to keep its weights small instead of to fit the "
    "data.",
    page="monitors/penalty_reporter.md",
    needs="weights that can be read",
    known=lambda t: bool(t.curve(q.WEIGHT_PENALTY)),
    meant=lambda t: any(v.get("regularizer") for v in t.variables),
)
def penalty_dominates(t: Training) -> Iterator[Evidence]:
    """Penalties dominate the loss, or have shrunk the kernels.

    The penalty divided by the sum of the penalty and the constant predictor's
    loss is above 0.5 in three checks; or it was above 0.5 at the start, and
    kernels with a regularizer are now below 0.3 of their RMS at the start.
    Reported only if there is harm. Known false alarm: late training, when the
    data loss is nearly 0; guard: the constant predictor's loss, and harm.
    """
    penalty, reference = t.curve(q.WEIGHT_PENALTY).finite, reference_loss(t)
    if not penalty or reference is None:
        return
    shares = penalty.values / (penalty.values + reference)
    checks = min(_CHECKS, len(shares))
    shrunk = _shrunk(t)
    dominant = checks >= 2 and held(shares > DOMINANT, checks)
    was = shares[0] > DOMINANT and shrunk is not None and shrunk < SHRUNK
    if not (dominant or was) or harm(t, 0.5) is None:
        return
    number = Measured(
        "penalty / (penalty + constant predictor's loss)",
        float(shares[-1] if dominant else shares[0]),
        DOMINANT,
    )
    more = ()
    if shrunk is not None:
        name = "RMS of the penalized kernels over that at the start"
        more = (Measured(name, shrunk, SHRUNK),)
    yield Evidence(
        "",
        (0, 0),
        (number, *more),
        "Lower the strength of the regularizer a hundredfold.",
        "kernel_regularizer=keras.regularizers.L2(1e-4)",
    )


def _shrunk(t: Training) -> float | None:
    """Median over penalized kernels of their RMS relative to the start."""
    ratios = []
    for kernel in t.kernels:
        curve = t.curve(q.EPOCH_WEIGHT_RMS, kernel["path"])
        if not kernel.get("regularizer") or len(curve.values) < 2:
            continue
        if curve.values[0] > 0.0:
            ratios.append(curve.values[-1] / curve.values[0])
    return float(np.median(ratios)) if ratios else None


@rule(
    "heavy_dropout",
    severity="warning",
    why="So much of the signal is dropped that too little is left to learn "
    "from.",
    page="monitors/mc_predict.md",
    known=lambda t: bool(_rates(t)),
    meant=lambda t: bool(_rates(t)),
)
def heavy_dropout(t: Training) -> Iterator[Evidence]:
    """A dropout layer drops 70 % or more, and the run is not on track.

    Reported only if there is harm. Known false alarm: wide layers, which
    tolerate a high rate; guard: harm.
    """
    rates = _rates(t)
    layer = max(rates, key=rates.__getitem__)
    if rates[layer] < MOST_DROPPED or harm(t, 0.5) is None:
        return
    yield Evidence(
        layer,
        (0, 0),
        (Measured("share of units dropped", rates[layer], MOST_DROPPED),),
        "Lower the rate; 0.2 to 0.5 is usual.",
        "keras.layers.Dropout(0.3)",
    )


def _rates(t: Training) -> dict[str, float]:
    return {
        layer["path"]: float(layer["rate"])
        for layer in t.layers
        if "rate" in layer and "Dropout" in layer["class"]
    }
