"""Whether inputs and targets have a scale that a model can start with."""

import math
from collections.abc import Iterator
from typing import Any

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.rule import rule
from keras_concepts.rules.start import (
    ENOUGH,
    HIGHER,
    first_loss,
    hurts,
    is_far_off,
    uniform_loss,
)
from keras_concepts.rules.training import Training
from keras_concepts.rules.units import (
    FROM_THE_START,
    is_saturated_from_the_start,
)

# Root mean square of all entries: 1 for standardized inputs, at most 1 for
# inputs between 0 and 1. Source: prototype on 130 recorded runs.
_LARGE = 10.0
_SMALL = 0.01
# Largest RMS of a feature relative to the median of all. Source: as above.
_SPREAD = 100.0
# Distance of the mean from 0 in standard deviations. Source: as above.
_OFFSET = 10.0
# RMS of targets that a preflight reports even if nothing shows that it hurts.
_FAR = 1000.0

# Layers that only change the shape, or drop or move entries.
_PASS_ON = (
    "InputLayer",
    "Functional",
    "Sequential",
    "Model",
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Masking",
    "Dropout",
    "SpatialDropout",
    "GaussianNoise",
    "ZeroPadding",
    "Cropping",
    "UpSampling",
    "Random",
    "Resizing",
    "CenterCrop",
    "TimeDistributed",
    "Bidirectional",
    "Concatenate",
)
# Layers with weights that pass a wrong scale on.
_KEEP_SCALE = (
    *("Dense", "EinsumDense", "Conv", "LSTM", "GRU", "SimpleRNN"),
    *("DepthwiseConv", "SeparableConv", "RNN", "ConvLSTM"),
)


def _are_scaled_first(t: Training, entry: dict[str, Any]) -> bool:
    """Whether the model scales this input itself, or may do so.

    The first layer that does more than move entries decides: a dense,
    convolutional or recurrent layer keeps the scale; any other (normalization,
    an embedding, a custom layer) may change it.
    """
    seen = entry.get("kernel_rms")
    if seen is not None:  # measured where the first kernel reads it
        return _SMALL <= seen <= _LARGE
    embeds = any("Embedding" in layer["class"] for layer in t.layers)
    if entry.get("integer") and embeds:
        return True
    # The first entry is the model itself.
    inner = [layer["class"] for layer in t.layers[1:]]
    first = next((c for c in inner if not c.startswith(_PASS_ON)), "")
    return not first.startswith(_KEEP_SCALE)


@rule(
    "unscaled_input",
    severity="warning",
    why="Inputs on the wrong scale saturate units or let one feature drown out "
    "the others, and no learning rate is right for all weights.",
    page="doctor.md#unscaled_input",
    needs="the inputs",
    known=lambda t: bool(t.inputs),
)
def unscaled_input(t: Training) -> Iterator[Evidence]:
    """Inputs that are far too large, too small, uneven or off centre.

    | variant | formula |
    |---|---|
    | `large` | RMS of all entries > 10 |
    | `spread` | largest RMS of a feature > 10, and > 100 times the median |
    | `offset` | abs(mean) > 10 standard deviations |
    | `small` | RMS < 0.01 |

    Reported only if there is harm. In training: the run is not on track
    (`harm`), with a skill below 0.2, or below 0.75 if nearly all units of a
    layer have been saturated since before the first step. In a preflight: the
    loss at the start is more than three times that of uniform predictions (ten
    times the constant predictor's in a regression), or one batch could not be
    learned. "Outside [-1, 1]" would flag every standardized data set, so the
    limits are ten times that.

    Known false alarms: ids of an embedding; a first layer that scales
    (`Normalization`, `Rescaling`, `BatchNormalization`, or any that is not
    dense, convolutional or recurrent); scaling by an operation in the model (if
    the input of the first kernel was measured, that is used instead).
    """
    for entry in t.inputs:
        found = scale_of(entry)
        if found is None or _are_scaled_first(t, entry):
            continue
        flat = is_saturated_from_the_start(t)
        if not hurts(t, FROM_THE_START if flat else ENOUGH):
            continue
        variant, measured = found
        name = entry.get("name") or ""
        # The range of images and other integers is known.
        pixels = 1 < (entry.get("max") or 0) <= 255 and entry.get("min") == 0
        yield Evidence(
            owner=name,
            since=(0, 0),
            measured=(*measured, *_damage(t)),
            advice="Scale the inputs to mean 0 and standard deviation 1, per "
            "feature, or let the model do so in its first layer.",
            code="keras.layers.Rescaling(1 / 255)"
            if pixels and variant == "large"
            else "scale = keras.layers.Normalization(); scale.adapt(x)",
            variant=variant,
            part=name,
        )


def scale_of(entry: dict[str, Any]) -> tuple[str, list[Measured]] | None:
    """What is unusual about the scale of an input, and its measurements."""
    rms, mean, std = entry.get("rms"), entry.get("mean"), entry.get("std")
    if rms is None or not math.isfinite(rms):
        return None
    of_features = entry.get("rms_of_features") or []
    if len(of_features) == 3:
        _, median, largest = of_features
        if largest > _LARGE and largest > _SPREAD * median > 0:
            return "spread", [
                Measured("largest RMS of a feature", largest, _LARGE),
                Measured(
                    "the same over the median feature's",
                    largest / median,
                    _SPREAD,
                ),
            ]
    if rms > _LARGE:
        return "large", [Measured("RMS of the inputs", rms, _LARGE)]
    if mean is not None and std and abs(mean) > _OFFSET * std:
        return "offset", [
            Measured("abs(mean) / std of the inputs", abs(mean) / std, _OFFSET)
        ]
    if 0.0 < rms < _SMALL:
        return "small", [Measured("RMS of the inputs", rms, _SMALL)]
    return None


def _damage(t: Training) -> list[Measured]:
    first, uniform = first_loss(t), uniform_loss(t)
    if first is None or not is_far_off(t):
        return []
    limit = None if uniform is None else HIGHER * uniform
    return [Measured("loss before the first step", first, limit)]


@rule(
    "unscaled_target",
    severity="warning",
    why="A model starts with outputs near 0 and must first find the scale of "
    "the targets, with gradients on that scale.",
    page="doctor.md#unscaled_target",
    needs="the targets of a regression",
    known=lambda t: any(
        head.get("kind") == "regression" and head["output"] in t.targets
        for head in t.heads
    ),
    meant=lambda t: t.may_have("regression"),
)
def unscaled_target(t: Training) -> Iterator[Evidence]:
    """Regression targets far from mean 0 and standard deviation 1.

    - `large`: root mean square > 10;
    - `small`: standard deviation < 0.01, which makes squared errors vanish.

    Reported only if there is harm (see `unscaled_input`; in a preflight also if
    the root mean square is above 1,000).

    Known false alarms: a head that scales its output, which the predictions
    show (nothing is reported if the largest is at least a tenth of the targets'
    RMS before the first step); losses for counts and ratios, such as Poisson.
    """
    for head in t.heads:
        target = t.targets.get(head["output"])
        if target is None or head["loss"] not in _DISTANCES:
            continue
        mean, std = target.get("mean"), target.get("std")
        if mean is None or not std or target.get("non_finite"):
            continue
        rms = math.hypot(mean, std)
        if rms > _LARGE:
            if _is_of_scale(t, head["output"], rms):
                continue
            if not hurts(t, ENOUGH, alone=rms > _FAR):
                continue
            variant = "large"
            measured = [Measured("RMS of the targets", rms, _LARGE)]
        elif std < _SMALL and hurts(t, ENOUGH):
            variant = "small"
            measured = [
                Measured("standard deviation of the targets", std, _SMALL)
            ]
        else:
            continue
        yield Evidence(
            owner=head["output"] or head.get("layer") or "",
            since=(0, 0),
            measured=(*measured, *_damage(t)),
            advice="Subtract the mean of the targets and divide by their "
            "standard deviation; undo both on the predictions.",
            code="y = (y - y.mean()) / y.std()",
            variant=variant,
            part=head["output"],
        )


_DISTANCES = ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")


def _is_of_scale(t: Training, output: str, rms: float) -> bool:
    """Whether the untrained model predicts numbers of that magnitude."""
    low = t.curve(q.PREDICTION_MIN, output)
    high = t.curve(q.PREDICTION_MAX, output)
    if not low or not high or low.steps[0] != 0:
        return False
    largest = max(abs(float(low.values[0])), abs(float(high.values[0])))
    return largest >= rms / 10.0 and not _has_large_inputs(t)


def _has_large_inputs(t: Training) -> bool:
    return any(scale_of(entry) is not None for entry in t.inputs)
