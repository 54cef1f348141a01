"""Whether the output of a model's head is what its loss expects.

Two sources show what a head outputs: the activation read from the layers, and
the predictions on the probe, which also show what custom code does. If both are
known, they must agree, or nothing is reported.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.rule import rule
from keras_concepts.rules.start import hurts
from keras_concepts.rules.training import Training

# Tolerance of entries and of their sum over the classes: ten times the rounding
# error of a float16 softmax over a thousand classes. Source: this project.
TOLERANCE = 0.02
# Skill that a run should reach if a head is unusual but not wrong.
_ENOUGH = 0.3
# How far targets must lie outside the range of a head, in their standard
# deviations: a smaller excess may be noise. Source: this project.
_EXCESS = 1.0
# Share of a constant's loss that is left if each prediction is as close to its
# target as the range of the head allows. Source: for standardized normal
# targets and a tanh it is 0.15; for a few outliers, some hundredths.
_UNREACHABLE = 0.1
# Labels per sample: a softmax cannot predict several. Source: this project.
_LABELS_OF_A_SAMPLE = 1.2

_NORMALIZED = ("softmax", "sparsemax")
_PROBABILITIES = (*_NORMALIZED, "sigmoid", "hard_sigmoid")
# Range of each activation; one that is not listed is unbounded.
RANGES = {
    **dict.fromkeys(_PROBABILITIES, (0.0, 1.0)),
    **dict.fromkeys(("relu", "softplus", "exponential"), (0.0, math.inf)),
    "relu6": (0.0, 6.0),
    **dict.fromkeys(("tanh", "softsign", "hard_tanh"), (-1.0, 1.0)),
}
# On TensorFlow, Keras' own losses search for the logits behind a softmax or
# sigmoid and use them, whatever `from_logits` is.
_FIND_LOGITS = (
    "CategoricalCrossentropy",
    "SparseCategoricalCrossentropy",
    "BinaryCrossentropy",
)
# Losses that this package defines, not Keras.
_OURS = ("CrossEntropy", "FocalCrossEntropy", "SoftFBeta", "Tversky")
_SQUARES = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "Huber",
    "LogCosh",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
)


class Predictions(NamedTuple):
    """What a head has output on the probe, over all checks.

    Attributes:
        low: The smallest entry.
        high: The largest entry.
        sum_error: Largest distance from 1 of the sum over the last axis; `None`
            if it was not measured.
    """

    low: float
    high: float
    sum_error: float | None

    @property
    def are_probabilities(self) -> bool:
        """Whether every entry lies between 0 and 1."""
        return self.low >= -TOLERANCE and self.high <= 1.0 + TOLERANCE

    @property
    def sum_to_one(self) -> bool:
        """Whether the entries of each sample add up to 1."""
        return self.sum_error is not None and self.sum_error <= TOLERANCE


def predictions(t: Training, output: str) -> Predictions | None:
    """What a head has output, or `None` if it was not measured."""
    low = t.curve(q.PREDICTION_MIN, output).finite
    high = t.curve(q.PREDICTION_MAX, output).finite
    if not low or not high:
        return None
    error = t.curve(q.PREDICTION_SUM_ERROR, output).finite
    return Predictions(
        float(low.values.min()),
        float(high.values.max()),
        float(error.values.max()) if error else None,
    )


def judged_heads(t: Training) -> list[dict[str, Any]]:
    """The heads that are known to be trained by a known loss.

    Empty if the model has its own `train_step` or `compute_loss`, which may not
    use what `compile` was given.
    """
    if t.facts.get("own_step"):
        return []
    return [
        head
        for head in t.heads
        if head.get("loss") and head.get("kind") != "other"
    ]


@rule(
    "head_loss_mismatch",
    severity="error",
    why="The loss expects a different kind of output, so its minimum is not "
    "where the predictions are right.",
    page="doctor.md#head_loss_mismatch",
    needs="what the model's outputs are and which loss each has",
    known=lambda t: bool(judged_heads(t)),
)
def head_loss_mismatch(t: Training) -> Iterator[Evidence]:
    """The activation of an output does not fit its loss.

    | variant | what it is | reported |
    |---|---|---|
    | `one_unit` | softmax over 1 unit, whose output is always 1 | at once |
    | `twice` | softmax of a softmax, sigmoid of a sigmoid | at once |
    | `not_logits` | probabilities, and `from_logits=True` | at once |
    | `not_probabilities` | logits, and `from_logits=False` | at once |
    | `bounded_logits` | sigmoid before the softmax | at once |
    | | relu, tanh, ... there, or as logits | with harm (skill < 0.3) |
    | `out_of_reach` | targets outside the activation's range | at once, if |
    | | | they cost ≥ 0.1 of a constant's loss, else with harm |
    | `several_labels` | softmax for several labels per sample | with harm |

    Thresholds: entries between -0.02 and 1.02 that sum to 1 ± 0.02 are
    probabilities. Targets are out of reach if their mean is, or if one lies
    more than one standard deviation outside the range. What they cost is the
    loss of the closest predictions that the activation can output.

    Known false alarms: a model that computes its probabilities or logits after
    the activation that was read (the predictions then show it, and nothing is
    reported); Keras on TensorFlow, which finds the logits behind a softmax or
    sigmoid (`not_logits` is not reported there); a model with its own
    `train_step` or `compute_loss` (its heads have no known loss); relu logits,
    which usually learn (guard: harm); sentinel targets of weight 0 (guard:
    harm).
    """
    for head in judged_heads(t):
        found = _first(t, head, predictions(t, head["output"]))
        if found is not None:
            yield found


def _first(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    for judge in (
        _one_unit,
        _twice,
        _not_logits,
        _not_probabilities,
        _bounded_logits,
        _out_of_reach,
        _several_labels,
    ):
        found = judge(t, head, seen)
        if found is not None:
            return found
    return None


def _one_unit(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    if head.get("units") != 1:
        return None
    is_softmax = head.get("activation") in _NORMALIZED
    if seen is not None and seen.low < 1.0 - TOLERANCE and is_softmax:
        return None  # a softmax over another axis
    if not is_softmax and not (
        head["loss"] == "CategoricalCrossentropy" and _is_standard(head)
    ):
        return None
    return _evidence(
        head,
        "one_unit",
        [
            Measured("activation of the output", str(head.get("activation"))),
            Measured("units of the output", 1),
        ],
        "Use a sigmoid and binary cross-entropy for two classes, or one unit "
        "per class.",
        'keras.layers.Dense(1, activation="sigmoid"); '
        'loss="binary_crossentropy"',
    )


def _is_standard(head: dict[str, Any]) -> bool:
    return head.get("activation") in (*_PROBABILITIES, "linear")


def _twice(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    outer, inner = head.get("activation"), head.get("argument_activation")
    same = (outer in _NORMALIZED and inner in _NORMALIZED) or (
        outer == inner == "sigmoid"
    )
    if not same or not _fits_argument(head, seen):
        return None
    return _evidence(
        head,
        "twice",
        [
            Measured("activation of the output", str(outer)),
            Measured("activation before it", str(inner)),
            *_range_of(seen),
        ],
        f"Apply the {outer} only once.",
        dense_code(head.get("units"), str(outer)),
    )


def _not_logits(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    if head.get("from_logits") is not True:
        return None
    activation = head.get("activation")
    if activation is None:
        # Custom code: only a sum of 1 cannot be due to chance.
        units = head.get("units") or 0
        certain = (
            head["kind"] == "multiclass"
            and seen is not None
            and units > 1
            and seen.are_probabilities
            and seen.sum_to_one
        )
        if not certain or _keras_finds_logits(t, head):
            return None
    elif (
        activation not in _PROBABILITIES
        or (seen is not None and not seen.are_probabilities)
        or _keras_finds_logits(t, head)
    ):
        return None
    return _evidence(
        head,
        "not_logits",
        [
            Measured("activation of the output", str(activation or "unknown")),
            Measured("from_logits of the loss", "True"),
            *_range_of(seen),
        ],
        "Remove the activation of the last layer, or set `from_logits=False`.",
        loss_code(head["loss"], from_logits=False),
    )


def _keras_finds_logits(t: Training, head: dict[str, Any]) -> bool:
    policy = t.layer.get(head.get("layer") or "", {}).get("dtype_policy")
    return (
        t.facts.get("backend") == "tensorflow"
        and head["loss"] in _FIND_LOGITS
        # With mixed precision, the loss is given a cast copy.
        and policy in (None, "float32", "float64")
    )


def _not_probabilities(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    takes = head["kind"] in ("multiclass", "binary") and (
        head.get("from_logits") is False
    )
    takes |= head["loss"] in ("KLDivergence", "Poisson")
    activation = head.get("activation")
    if not takes or activation in _PROBABILITIES:
        return None
    binary = head["kind"] == "binary"
    if seen is None:
        if activation != "linear" or not _is_plain(t, head):
            return None
    elif head["loss"] == "Poisson" or not binary:
        # Keras divides positive numbers by their sum.
        if seen.low >= -TOLERANCE:
            return None
    elif seen.are_probabilities:
        return None
    target = "sigmoid" if binary else "softmax"
    advice = (
        "Set `from_logits=True` in the loss, or give the last layer "
        f'`activation="{target}"`.'
    )
    code = loss_code(head["loss"], from_logits=True)
    if head["loss"] in ("KLDivergence", "Poisson"):
        target = "softplus" if head["loss"] == "Poisson" else "softmax"
        advice = f'Give the last layer `activation="{target}"`.'
        code = dense_code(head.get("units"), target)
    return _evidence(
        head,
        "not_probabilities",
        [
            Measured("activation of the output", str(activation or "unknown")),
            Measured("from_logits of the loss", str(head.get("from_logits"))),
            *_range_of(seen),
        ],
        advice,
        code,
    )


def _is_plain(t: Training, head: dict[str, Any]) -> bool:
    """Whether the output comes from a layer that can output any number."""
    kind = t.layer.get(head.get("layer") or "", {}).get("class", "")
    return kind in ("Dense", "EinsumDense") or kind.startswith("Conv")


def _bounded_logits(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    if head["kind"] not in ("multiclass", "binary"):
        return None
    outer = head.get("activation")
    bounded = None
    if head.get("from_logits") is False and outer in (*_NORMALIZED, "sigmoid"):
        bounded = head.get("argument_activation")
        if not _fits_argument(head, seen):
            return None
    elif head.get("from_logits") is True and outer not in _PROBABILITIES:
        bounded = outer
        if seen is not None and not _is_inside(seen, RANGES.get(outer or "")):
            return None
    if bounded not in RANGES:
        return None
    certain = bounded in _PROBABILITIES
    # Without negative logits no probability is below one half.
    certain |= head["kind"] == "binary" and RANGES[bounded][0] >= 0.0
    if not certain and not hurts(t, _ENOUGH, alone=True):
        return None
    low, high = RANGES[bounded]
    return _evidence(
        head,
        "bounded_logits",
        [
            Measured("activation of the logits", str(bounded)),
            Measured("lower bound of the logits", low),
            *(
                [Measured("upper bound of the logits", high)]
                if high < math.inf
                else []
            ),
            *_range_of(seen),
        ],
        f"Remove the {bounded} from the layer that computes the logits.",
        dense_code(head.get("units")),
    )


def _fits_argument(head: dict[str, Any], seen: Predictions | None) -> bool:
    """Whether predictions fit an activation applied to another's output."""
    inner = RANGES.get(head.get("argument_activation") or "")
    if seen is None or inner is None or not all(map(math.isfinite, inner)):
        return True
    others = max((head.get("units") or 1) - 1, 1)
    if head.get("activation") == "sigmoid":
        low, high = (1.0 / (1.0 + math.exp(-z)) for z in inner)
    else:
        width = inner[1] - inner[0]
        high = 1.0 / (1.0 + others * math.exp(-width))
        low = math.exp(-width) / (math.exp(-width) + others)
    return seen.low >= low - TOLERANCE and seen.high <= high + TOLERANCE


def _out_of_reach(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    span = RANGES.get(head.get("activation") or "")
    target = t.targets.get(head["output"])
    if head["loss"] not in _SQUARES or span is None or target is None:
        return None
    if seen is not None and not _is_inside(seen, span):
        return None
    if target.get("min") is None or target.get("std") is None:
        return None
    low, high = target["min"], target["max"]
    mean, spread = target["mean"], target["std"]
    beyond = max(span[0] - low, high - span[1])
    share = _unreachable_share(target)
    is_far = not span[0] <= mean <= span[1] or beyond > _EXCESS * spread
    # Recordings of earlier versions do not have the share.
    certain = is_far if share is None else share >= _UNREACHABLE
    if not certain and not is_far:
        return None
    sure = certain and not t.fit.get("sample_weight")
    if not sure and not hurts(t, _ENOUGH):
        return None
    farthest = low if span[0] - low >= high - span[1] else high
    return _evidence(
        head,
        "out_of_reach",
        [
            Measured("activation of the output", str(head["activation"])),
            Measured("smallest target", low, span[0]),
            Measured(
                "largest target", high, span[1] if span[1] < math.inf else None
            ),
            *(
                []
                if share is None
                else [
                    Measured(
                        "share of a constant's loss that must remain",
                        share,
                        _UNREACHABLE,
                    )
                ]
            ),
        ],
        "Remove the activation of the last layer, or scale the targets to its "
        "range.",
        dense_code(head.get("units")),
        f"The output of a {head['activation']} {_words(span)}: it cannot reach "
        f"a target of {farthest:.3g}.",
    )


def _unreachable_share(target: dict[str, Any]) -> float | None:
    """Share of a constant's loss that the activation cannot remove."""
    least, constant = target.get("reachable_loss"), target.get("constant_loss")
    if least is None or not constant:
        return None
    return least / constant


def _words(span: tuple[float, float]) -> str:
    if span[1] == math.inf:
        return f"is never below {span[0]:g}"
    return f"lies between {span[0]:g} and {span[1]:g}"


def _several_labels(
    t: Training, head: dict[str, Any], seen: Predictions | None
) -> Evidence | None:
    target = t.targets.get(head["output"], {})
    labels = sum(target.get("shares") or [])
    if (
        target.get("form") != "multi_label"
        or head.get("activation") not in _NORMALIZED
        or not head["loss"].startswith("Binary")
        or labels < _LABELS_OF_A_SAMPLE
        or (seen is not None and not seen.sum_to_one)
        or not hurts(t, _ENOUGH, alone=True)
    ):
        return None
    return _evidence(
        head,
        "several_labels",
        [
            Measured("labels per sample", labels, _LABELS_OF_A_SAMPLE),
            Measured("sum of the predictions", 1.0),
        ],
        "Use a sigmoid, which predicts each label on its own.",
        dense_code(head.get("units"), "sigmoid"),
    )


def dense_code(units: int | None, activation: str = "") -> str:
    """A line of code: a last layer with this activation, or without one."""
    if not activation:
        return f"keras.layers.Dense({units or 'units'})  # no activation"
    return f'keras.layers.Dense({units or "units"}, activation="{activation}")'


def loss_code(name: str, *, from_logits: bool) -> str:
    """A line of code: a loss of Keras, or of this package."""
    package = "kc" if name in _OURS else "keras"
    return f"loss={package}.losses.{name}(from_logits={from_logits})"


def _is_inside(seen: Predictions, span: tuple[float, float] | None) -> bool:
    if span is None:
        return True
    return seen.low >= span[0] - TOLERANCE and seen.high <= span[1] + TOLERANCE


def _range_of(seen: Predictions | None) -> list[Measured]:
    if seen is None:
        return []
    found = [
        Measured("smallest prediction", seen.low),
        Measured("largest prediction", seen.high),
    ]
    if seen.sum_error is not None:
        found.append(Measured("sum of predictions - 1", seen.sum_error))
    return found


def _evidence(
    head: dict[str, Any],
    variant: str,
    measured: list[Measured],
    advice: str,
    code: str,
    why: str = "",
) -> Evidence:
    loss = Measured("loss", head["loss"])
    return Evidence(
        owner=head.get("layer") or head["output"],
        since=(0, 0),
        measured=(*measured, loss),
        advice=advice,
        code=code,
        variant=variant,
        part=head["output"],
        why=why,
    )
