"""Whether inputs and targets are of a scale that a model can begin with."""

import math
from collections.abc import Iterator
from typing import Any

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.heads import judged_heads, predictions
from keras_concepts.rules.rule import rule
from keras_concepts.rules.start import (
    HIGH,
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

# Skill that a run must not fall short of where the data are unscaled. Noisy
# tables allow no more than 0.3 to anyone. Source: public programs on raw data.
_ENOUGH = 0.2
# Root mean square of all entries; standardized inputs have 1, those of 0..1 at
# most that. Source: prototype on 130 recorded runs.
_LARGE = 10.0
_SMALL = 0.01
# Largest RMS of a feature over the median of all. Source: as above.
_SPREAD = 100.0
# Distance of the mean from 0 in standard deviations. Source: as above.
_OFFSET = 10.0
# Of targets; what a preflight asks for if nothing shows that it hurts.
_FAR = 1000.0

# Layers that change nothing but shape, or drop or move entries.
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
# Layers with weights in which a wrong scale stays one.
_KEEP_SCALE = ("Dense", "EinsumDense", "Conv", "LSTM", "GRU", "SimpleRNN")
_KEEP_SCALE += ("DepthwiseConv", "SeparableConv", "RNN", "ConvLSTM")


def _are_scaled_first(t: Training, entry: dict[str, Any]) -> bool:
    """Whether the model scales this input itself, or may do so.

    The first layer that does more than to move entries about says so: a dense,
    convolutional or recurrent one keeps the scale, and of any other (a
    normalization, an embedding, somebody's own) it is not known.
    """
    seen = entry.get("kernel_rms")
    if seen is not None:  # measured where the first kernel reads it
        return _SMALL <= seen <= _LARGE
    embeds = any("Embedding" in layer["class"] for layer in t.layers)
    if entry.get("integer") and embeds:
        return True
    # The first of all is the model.
    inner = [layer["class"] for layer in t.layers[1:]]
    first = next((c for c in inner if not c.startswith(_PASS_ON)), "")
    return not first.startswith(_KEEP_SCALE)


@rule(
    "unscaled_input",
    severity="warning",
    why="Inputs of a wrong scale saturate units, or make one feature drown the "
    "others, and no learning rate is right for all weights.",
    page="doctor.md#unscaled_input",
    needs="the inputs",
    known=lambda t: bool(t.inputs),
)
def unscaled_input(t: Training) -> Iterator[Evidence]:
    """Inputs that are far too large, too small, uneven or off zero.

    | variant | formula |
    |---|---|
    | `large` | RMS of all entries > 10 |
    | `spread` | largest RMS of a feature > 10, and > 100 times the median |
    | `offset` | abs(mean) > 10 standard deviations |
    | `small` | RMS < 0.01 |

    Only where it hurts: in training, skill below 0.2 and not on its way
    (`harm`), or below 0.75 where nearly all units of a layer have been
    saturated since before the first step; in a preflight, a loss at the start
    of more than three times that of uniform predictions (ten times the constant
    predictor's in a regression), or one batch that could not be learned.
    "Outside [-1, 1]" flags every standardized data set, so the limits lie a
    decade further.

    Known false alarms: ids of an embedding; a first layer that scales
    (`Normalization`, `Rescaling`, `BatchNormalization`, or any that is not a
    dense, convolutional or recurrent one); scaling by an operation in the model
    (where the input of the first kernel was measured, that counts instead).
    """
    for entry in t.inputs:
        found = scale_of(entry)
        if found is None or _are_scaled_first(t, entry):
            continue
        flat = is_saturated_from_the_start(t)
        if not hurts(t, FROM_THE_START if flat else _ENOUGH):
            continue
        variant, measured = found
        name = entry.get("name") or ""
        # Of images and other integers the range is known.
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
    """What is unusual about the scale of an input, and what was measured."""
    rms, mean, std = entry.get("rms"), entry.get("mean"), entry.get("std")
    if rms is None or not math.isfinite(rms):
        return None
    of_features = entry.get("rms_of_features") or []
    if len(of_features) == 3:
        _, median, largest = of_features
        if largest > _LARGE and largest > _SPREAD * median > 0:
            return "spread", [
                Measured("largest RMS of a feature", largest, _LARGE),
                Measured("the same over the median", largest / median, _SPREAD),
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
    why="A model begins with outputs near 0 and must first find the scale of "
    "the targets, with gradients to match.",
    page="doctor.md#unscaled_target",
    needs="the targets of a regression",
    known=lambda t: any(
        head.get("kind") == "regression" and head["output"] in t.targets
        for head in t.heads
    ),
    meant=lambda t: t.may_have("regression"),
)
def unscaled_target(t: Training) -> Iterator[Evidence]:
    """Targets of a regression that are far from mean 0 and deviation 1.

    - `large`: root mean square > 10;
    - `small`: standard deviation < 0.01, which makes squared errors vanish.

    Only where it hurts (`unscaled_input` says what that is; in a preflight
    also if the root mean square is beyond 1,000).

    Known false alarms: a head that scales its output, which the predictions
    show (nothing is said if the largest is a tenth of the targets' RMS before
    the first step); losses of counts and ratios, such as Poisson.
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
            if not hurts(t, _ENOUGH, alone=rms > _FAR):
                continue
            variant = "large"
            measured = [Measured("RMS of the targets", rms, _LARGE)]
        elif std < _SMALL and hurts(t, _ENOUGH):
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
            "standard deviation; undo both after predicting.",
            code="y = (y - y.mean()) / y.std()",
            variant=variant,
            part=head["output"],
        )


_DISTANCES = ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")


def _is_of_scale(t: Training, output: str, rms: float) -> bool:
    """Whether the untrained model predicts numbers of that size."""
    low = t.curve(q.PREDICTION_MIN, output)
    high = t.curve(q.PREDICTION_MAX, output)
    if not low or not high or low.steps[0] != 0:
        return False
    largest = max(abs(float(low.values[0])), abs(float(high.values[0])))
    return largest >= rms / 10.0 and not _has_large_inputs(t)


def _has_large_inputs(t: Training) -> bool:
    return any(scale_of(entry) is not None for entry in t.inputs)


@rule(
    "non_finite",
    severity="error",
    why="One NaN in a batch makes the loss NaN, and with it all weights.",
    page="monitors/non_finite_guard.md",
    needs="inputs or targets",
    known=lambda t: bool(t.inputs or t.targets),
)
def non_finite_data(t: Training) -> Iterator[Evidence]:
    """NaN or infinite numbers in inputs or targets (variant `data`).

    Certain, so at once. Known false alarm: a model that takes NaN for missing;
    once an epoch has ended with a finite loss, nothing is said. So is nothing
    of targets for a loss of somebody's own, or where NaN is `ignore_class`.
    """
    if t.ended_epochs and t.broken_at is None:
        return
    judged = {head["output"] for head in judged_heads(t)}
    found = [("x", entry["name"], entry) for entry in t.inputs]
    found += [
        ("y", output, target)
        for output, target in t.targets.items()
        if output in judged
    ]
    for kind, name, entry in found:
        count = entry.get("non_finite") or 0
        if not count:
            continue
        yield Evidence(
            owner=f"{kind}: {name}" if name else kind,
            since=(0, 0),
            measured=(
                Measured("NaN or infinite entries", count, 0),
                Measured("rows looked at", t.data.get("rows") or 0),
            ),
            advice="Leave these rows out, or replace the missing numbers.",
            code=f"keep = np.isfinite({kind}).all(axis=-1)"
            if kind == "x"
            else "keep = np.isfinite(y)",
            variant="data",
            part=f"{kind}:{name}",
        )


@rule(
    "constant_input",
    severity="warning",
    why="Inputs that are the same for every sample say nothing about it.",
    page="doctor.md#constant_input",
    needs="the inputs",
    known=lambda t: bool(t.inputs),
)
def constant_input(t: Training) -> Iterator[Evidence]:
    """Every feature of every input has one value in all rows.

    Certain, so at once. Known false alarm: an input that is there for its
    shape alone, beside others; guard: all inputs, and 16 rows or more.
    """
    inputs = t.inputs
    if (t.data.get("rows") or 0) < _ENOUGH_ROWS or not inputs:
        return
    if not all(
        each.get("features") and each["constant_features"] == each["features"]
        for each in inputs
    ):
        return
    yield Evidence(
        owner=inputs[0]["name"],
        since=(0, 0),
        measured=(
            Measured("constant features", inputs[0]["constant_features"]),
            Measured("features", inputs[0]["features"]),
        ),
        advice="Look at a few rows as they come to `fit`: scaling, clipping or "
        "truncation has removed what they held.",
        code="print(x[:3])",
    )


# Share of validation rows that are training rows. Public test sets hold up to
# 3 % duplicates. Source: Barz & Denzler (2020), "Do we train on test data?".
_OVERLAP = 0.1


@rule(
    "validation_overlap",
    severity="warning",
    why="Rows that were trained on say nothing of new ones: the validation "
    "score is too good.",
    page="doctor.md#validation_overlap",
    needs="the rows of training and validation",
    known=lambda t: bool((t.data.get("validation") or {}).get("rows")),
)
def validation_overlap(t: Training) -> Iterator[Evidence]:
    """Validation rows whose inputs are training rows too: a tenth or more.

    Certain, so at once. Known false alarm: data with few distinct rows, such as
    a handful of categories; nothing is said unless the overlap is more than
    twice the share of training rows that occur more than once.
    """
    validation = t.data.get("validation") or {}
    overlap, repeated = validation.get("overlap"), validation.get("repeated")
    if overlap is None or (validation.get("rows") or 0) < 10:
        return
    if overlap < _OVERLAP or overlap <= 2.0 * (repeated or 0.0):
        return
    yield Evidence(
        owner="",
        since=(0, 0),
        measured=(
            Measured("validation rows that are trained on", overlap, _OVERLAP),
            Measured("training rows that are repeated", repeated or 0.0),
        ),
        advice="Split the rows first, then augment or oversample those of "
        "training only.",
        code="model.fit(x_train, y_train, validation_data=(x_val, y_val))",
    )


# Rows, to call a feature constant.
_ENOUGH_ROWS = 16
# Share of the kernels' entries that are frozen. Source: this project.
_FROZEN = 0.5


@rule(
    "frozen_body",
    severity="warning",
    why="Layers that are frozen cannot learn; only what is trained after them "
    "can fit the data.",
    page="doctor.md#frozen_body",
    needs="the variables",
    known=lambda t: bool(t.variables),
)
def frozen_body(t: Training) -> Iterator[Evidence]:
    """Half of the kernels' entries frozen, and it hurts.

    At once if no variable at all is trainable though a head has a loss. Known
    false alarm: a pretrained body, frozen on purpose, under a head that learns;
    so otherwise only with harm (skill < 0.2), or in a preflight if one batch
    could not be learned.
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
    if not nothing and not hurts(t, _ENOUGH):
        return
    layers = [
        v["layer"] for v in kernels if not v.get("trainable") and v["layer"]
    ]
    yield Evidence(
        owner=layers[-1] if layers else "",
        since=(0, 0),
        measured=(
            Measured("share of the kernels' entries frozen", share, _FROZEN),
            Measured("frozen kernels", len(frozen)),
            Measured("trained kernels", len(kernels) - len(frozen)),
        ),
        advice="Set `trainable = True`, at least of the last layers, and "
        "compile again with a small learning rate.",
        code="body.trainable = True; model.compile(...)",
    )


@rule(
    "initial_loss",
    severity="warning",
    why="A model that knows nothing should be unsure; one that is sure of "
    "wrong classes must first unlearn that.",
    page="doctor.md#initial_loss",
    needs="the loss of the probe before the first step",
    known=lambda t: first_loss(t) is not None and uniform_loss(t) is not None,
    meant=lambda t: t.may_have("multiclass", "binary"),
)
def initial_loss(t: Training) -> Iterator[Evidence]:
    """Loss before the first step over that of uniform class probabilities.

    More than 2 with harm (skill < 0.2); in a preflight more than 3. It is held
    against ln C, not against the marginal of the classes, which would name
    every imbalance. A Glorot-initialized head on inputs of unit variance begins
    at up to ln C + 1.

    Known false alarms: models that were trained before, on other labels; harm.
    Batch normalization, whose moving statistics are not the data's at first,
    and whose batch may hardly differ: there the smaller one of the losses with
    either statistics counts.
    """
    first, uniform = first_loss(t), uniform_loss(t)
    if first is None or uniform is None or not math.isfinite(first):
        return
    limit = HIGHER if t.is_preflight else HIGH
    ratio = first / uniform
    if ratio <= limit or not hurts(t, _ENOUGH, alone=True):
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
        code='Dense(classes, kernel_initializer="glorot_uniform")',
    )


# After how many checks columns that are equal stay so. Source: this project.
_CHECKS = 2


@rule(
    "symmetric_init",
    severity="error",
    why="Units that begin equal get equal gradients and stay equal: the layer "
    "works as if it had one unit.",
    page="doctor.md#symmetric_init",
    needs="the weights at the start and later",
    known=lambda t: bool(t.curves(q.EQUAL_COLUMNS)),
)
def symmetric_init(t: Training) -> Iterator[Evidence]:
    """All units of a kernel have equal weights, and go on having them.

    In training: equal at the first check and at every check since, two of them
    at least after the first step. In a preflight: equal, and so is the gradient
    of every unit.

    Certain, so without harm. Known false alarms: a head that begins with zeros,
    or the last layer of a residual branch, whose units part with the first
    step; kernels of one unit, and frozen ones, are not looked at.
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
            code=f'Dense({shape[-1]}, kernel_initializer="glorot_uniform")',
            part=path,
        )
