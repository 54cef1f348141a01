"""Whether the labels are what the loss and the model expect."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.heads import dense_code, judged_heads, loss_code
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

# By how much rounding may increase a label of 1. Source: float16.
_TOLERANCE = 1e-3
# A line of code that numbers the classes from 0, whatever their labels are.
_NUMBERED = "y = np.unique(y, return_inverse=True)[1].reshape(y.shape)"
_SPARSE = ("SparseCategoricalCrossentropy",)
_ONE_HOT = ("CategoricalCrossentropy", "CategoricalFocalCrossentropy")
# Different numbers in one-hot rows, all times the same number.
_TIMES_ONE_NUMBER = 2
_BINARY = ("BinaryCrossentropy", "BinaryFocalCrossentropy")
# Losses that Keras computes entry by entry; axes of length 1 are broadcast.
_ENTRY_BY_ENTRY = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
    "Poisson",
    "Hinge",
    "SquaredHinge",
)


@rule(
    "label_mismatch",
    severity="error",
    why="The labels are not in the form that the loss expects, so it compares "
    "the predictions with something else.",
    page="doctor.md#label_mismatch",
    needs="the targets, and which loss each output has",
    known=lambda t: bool(t.targets) and bool(judged_heads(t)),
)
def label_mismatch(t: Training) -> Iterator[Evidence]:
    """The labels do not fit the output or its loss.

    | variant | what it is |
    |---|---|
    | `range` | class numbers below 0 or without a unit; binary not in 0..1 |
    | `fractions` | class numbers that are not integers |
    | `form` | class numbers for a loss of one-hot rows, or the reverse |
    | `broadcast` | an axis of length 1 against a longer one: `(n, 1)` and |
    | | `(n, k)`, `(n, t)` and `(n, 1)`; Keras broadcasts it silently |

    Certain, so reported at once. `(n,)` and `(n, 1)` are the same to Keras'
    losses. Thresholds: binary labels may be 0.001 beyond 0..1 (rounding).

    Known false alarms: labels that the loss ignores (`ignore_class`; nothing is
    reported if the label out of range is that one), or whose sample weight is 0
    (guard: harm); one-hot rows times a weight for each, such as the advantage
    of an action (guard: more numbers than 0 and one other); losses of third
    parties, whose format is unknown (nothing is reported).
    """
    for head in judged_heads(t):
        target = t.targets.get(head["output"])
        if target is None:
            continue
        if t.fit.get("sample_weight") and not _is_harmed(t):
            continue
        for judge in (_form, _fractions, _range, _broadcast):
            found = judge(t, head, target)
            if found is not None:
                yield found
                break


def _is_harmed(t: Training) -> bool:
    return t.is_preflight or harm(t, 0.3) is not None


def _form(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    """Checks whether labels are class numbers or one-hot rows, as expected."""
    units, shape = head.get("units"), target.get("shape")
    if not units or units < 2 or shape is None or not head["shape"]:
        return None
    missing = len(head["shape"]) - 1 - len(shape)  # number of axes
    is_wide = missing == 0 and shape[-1] == units
    is_narrow = missing == 1 or (missing == 0 and shape[-1] == 1)
    if head["loss"] in _SPARSE and is_wide:
        right, loss = "class numbers", "CategoricalCrossentropy"
    elif head["loss"] in _ONE_HOT and is_narrow:
        right, loss = "one-hot rows", "SparseCategoricalCrossentropy"
    else:
        return None
    return evidence_on_labels(
        head,
        "form",
        [
            Measured("shape of the targets", str(tuple(shape))),
            Measured("the loss expects", right),
        ],
        f"Use `{loss}`, or pass the labels as {right}.",
        loss_code(loss, from_logits=bool(head.get("from_logits"))),
    )


def _fractions(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    if head["loss"] not in _SPARSE or target["form"] not in (
        "real",
        "probabilities",
    ):
        return None
    if target["mean"] is None:  # no rows, or only NaN
        return None
    return evidence_on_labels(
        head,
        "fractions",
        [
            Measured("mean of the labels", target["mean"]),
            Measured("largest label", target["max"]),
            Measured("the loss expects", "integers"),
        ],
        "Number the classes with integers; do not scale labels like inputs.",
        _NUMBERED,
    )


def _range(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    low, high, units = target["min"], target["max"], head.get("units")
    if low is None or high is None:
        return None
    ignored = ignored_labels(t.facts.get("loss"))
    ignored |= ignored_labels(head)
    if head["loss"] in _SPARSE:
        if not units or (units < 2 and high <= 0):
            return None
        below = low < 0 and low not in ignored
        above = high >= units and high not in ignored
        if not below and not above:
            return None
        limit = f"0 to {units - 1}"
        advice = (
            f"Number the classes from 0, or give the last layer "
            f"{int(high) + 1} units."
            if above
            else "Number the classes from 0; exclude padding with "
            "`ignore_class`."
        )
        activation = head.get("activation") or ""
        code = _NUMBERED
        if above and not below:
            code = dense_code(
                int(high) + 1, "" if activation == "linear" else activation
            )
    elif head["loss"] in (*_BINARY, *_ONE_HOT):
        if low >= -_TOLERANCE and high <= 1.0 + _TOLERANCE:
            return None
        if _are_weighted(head, target):
            return None
        limit = "0 to 1"
        advice = "Use labels of 0 and 1, or probabilities."
        code = 'y = (y == y.max()).astype("float32")'
        classes = int(high) + 1
        # All whole numbers from 0 up to the number of distinct ones.
        if (
            units == 1
            and low == 0
            and target["distinct"] == classes == high + 1
        ):
            advice = (
                "Give the last layer one unit per class, with a softmax and "
                "sparse categorical cross-entropy."
            )
            code = (
                f"{dense_code(classes, 'softmax')}; "
                'loss="sparse_categorical_crossentropy"'
            )
        elif target["form"] == "real":
            advice = (
                "Scale the targets to 0..1, or use a loss for real numbers, "
                "without an activation in the last layer."
            )
            code = 'loss="mean_squared_error"'
    else:
        return None
    return evidence_on_labels(
        head,
        "range",
        [
            Measured("smallest label", low),
            Measured("largest label", high),
            Measured("the loss expects", limit),
        ],
        advice,
        code,
    )


def _are_weighted(head: dict[str, Any], target: dict[str, Any]) -> bool:
    """Whether they are one-hot rows, each times a weight of its own."""
    several = (target.get("distinct") or 0) > _TIMES_ONE_NUMBER
    is_one_hot = head["loss"] in _ONE_HOT and target.get("one_per_row")
    return bool(is_one_hot and several)


def has_labels_out_of_range(t: Training) -> bool:
    """Whether class numbers have no unit, or binary labels are beyond 0..1."""
    for head in judged_heads(t):
        target = t.targets.get(head["output"])
        if target is None or head["loss"] not in (*_SPARSE, *_BINARY):
            continue
        if _range(t, head, target) is not None:
            return True
    return False


def _broadcast(
    t: Training, head: dict[str, Any], target: dict[str, Any]
) -> Evidence | None:
    # Both without the sample axis.
    shape, output = target.get("shape"), (head["shape"] or [])[1:]
    if shape is None:
        return None
    if head["loss"] not in _ENTRY_BY_ENTRY:
        return None
    if len(shape) != len(output):
        return None  # Keras drops or adds a last axis, or there is an error
    uneven = [
        (i, j)
        for i, j in zip(shape, output, strict=True)
        if i is not None and j is not None and i != j
    ]
    if not uneven or any(1 not in pair for pair in uneven):
        return None
    return evidence_on_labels(
        head,
        "broadcast",
        [
            Measured("shape of the targets", str(("n", *shape))),
            Measured("shape of the output", str(("n", *output))),
        ],
        "Give targets and output the same shape: each entry of one is compared "
        "with several of the other.",
        f"keras.layers.Dense({shape[-1]})" if shape[-1] != output[-1] else "",
    )


def ignored_labels(facts: Any) -> set[float]:
    """Every `ignore_class` in the facts of losses."""
    if isinstance(facts, dict):
        found = set().union(*map(ignored_labels, facts.values()))
        ignored = facts.get("ignore_class")
        return found | (
            {ignored} if isinstance(ignored, int | float) else set()
        )
    if isinstance(facts, list):
        return set().union(*map(ignored_labels, facts))
    return set()


def evidence_on_labels(
    head: dict[str, Any],
    variant: str,
    measured: list[Measured],
    advice: str,
    code: str,
    why: str = "",
) -> Evidence:
    """Evidence on the labels of an output, at the start of a run."""
    loss = Measured("loss", str(head.get("loss")))
    return Evidence(
        owner=head["output"] or (head.get("layer") or ""),
        since=(0, 0),
        measured=(*measured, loss),
        advice=advice,
        code=code,
        variant=variant,
        part=head["output"],
        why=why,
    )
