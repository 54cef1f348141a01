"""The state of a run before its first step."""

import math

from keras_concepts import quantities as q
from keras_concepts.rules.harm import (
    constant_loss,
    harm,
    has_negative_weights,
)
from keras_concepts.rules.training import Curve, Training

# Loss before the first step relative to that of uniform class probabilities.
# With inputs of unit variance and Glorot initialization, logits have a variance
# of up to 2, which adds about 1 to the ln C of C classes: a factor below 2.
# Source: that sum; the second limit is that of a `preflight`.
HIGH = 2.0
HIGHER = 3.0
# Loss of a regression relative to that of the best constant. A model must first
# find the scale of the targets. Source: this project.
_FAR = 10.0
# Skill that a run should reach if its start is unusual. Noisy tabular data
# allow no model more than 0.3. Source: public programs on raw data.
ENOUGH = 0.2


def first_loss(t: Training) -> float | None:
    """Loss of the probe before the first step, without penalties.

    If a model has batch normalization, it is the smaller of the losses in
    training mode and at inference: the moving statistics do not fit the data
    yet, and those of a batch amplify what hardly varies.
    """
    curve = _first_curve(t, q.PROBE_INFERENCE_LOSS)
    if any("BatchNormalization" in layer["class"] for layer in t.layers):
        # In a preflight, the training loss is the one without dropout.
        trained = _first_curve(t, q.TRAINING_LOSS, q.PROBE_LOSS)
        if trained is None:
            return None
        if curve is None or not curve.values[0] < trained.values[0]:
            curve = trained
    if curve is None:
        return None
    penalty = t.curve(q.WEIGHT_PENALTY)
    known = penalty and penalty.steps[0] == curve.steps[0]
    return float(curve.values[0] - (penalty.values[0] if known else 0.0))


def _first_curve(t: Training, *quantities: q.Quantity) -> Curve | None:
    """The first quantity that was measured before the first step."""
    curves = [t.curve(each) for each in quantities]
    return next((c for c in curves if c and c.epochs[0] < 0), None)


def uniform_loss(t: Training) -> float | None:
    """Loss of uniform class probabilities, for all heads together."""
    if has_negative_weights(t):
        return None
    total = 0.0
    for head in t.heads:
        loss = t.targets.get(head["output"], {}).get("uniform_loss")
        if loss is None or not math.isfinite(loss):
            return None
        weight = head.get("loss_weight")
        total += loss * (1.0 if weight is None else weight)
    return total if t.heads and total > 1e-9 else None


def hurts(t: Training, enough: float, *, alone: bool = False) -> bool:
    """Whether what is unusual about a run also does harm.

    In training, it does if the run is not on track (`harm`). In a preflight, it
    does if the loss at the start is many times that of an uninformed model, or
    if one batch could not be learned.

    Args:
        t: What is known of the run.
        enough: Skill that the run should reach by the planned end.
        alone: Whether it is worth reporting in a preflight in any case.
    """
    if not t.is_preflight:
        return harm(t, enough) is not None
    return alone or is_far_off(t) or was_not_learned(t)


def is_far_off(t: Training) -> bool:
    """Whether the loss at the start is many times what it should be."""
    first = first_loss(t)
    if first is None:
        return False
    if not math.isfinite(first):
        return True
    uniform = uniform_loss(t)
    if uniform is not None:
        return first > HIGHER * uniform
    constant = constant_loss(t)
    return constant is not None and first > _FAR * constant


# Share of a batch's loss that a few dozen steps must remove. Source: healthy
# models of many kinds remove half and more, broken ones nothing.
LEARNED = 0.1
# Share of the constant predictor's loss below which a model knows the batch.
KNOWN = 0.5


def was_not_learned(t: Training) -> bool:
    """Whether a preflight tried to learn one batch and failed."""
    batch = (t.facts.get("checks") or {}).get("batch")
    if not batch:
        return False
    before, after = batch["before"], batch["after"]
    if not math.isfinite(after):
        return True
    constant = constant_loss(t)
    if constant is not None and after < KNOWN * constant:
        return False
    return after > before - LEARNED * abs(before)
