"""A custom loss that does not compare what it should."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.agreement import (
    KNOWN,
    RISEN,
    agreement,
    ignores_labels,
    unknown_head,
)
from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import harm
from keras_concepts.rules.labels import evidence_on_labels
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Training

_CHECKS = 2
_COSINE = "CosineSimilarity"


@rule(
    "head_loss_mismatch",
    severity="warning",
    why="A custom loss that is not lower for right predictions may fall while "
    "the model gets worse.",
    page="doctor.md#head_loss_mismatch",
    needs="a probe batch with labels of the shape of the output",
    known=lambda t: agreement(t) is not None,
    meant=lambda t: unknown_head(t) is not None,
)
def own_loss(t: Training) -> Iterator[Evidence]:
    """A custom loss is no lower for right predictions than for wrong ones.

    The loss of predictions that equal the labels is as high as that of the same
    predictions in another order (`without_labels`), or higher (`reversed`); and
    in two checks, predictions of the probe agree with the labels no better than
    at the start. Known false alarms: targets that the loss itself scales,
    costs, risks in survival analysis, and pairs whose distance is small if the
    label is 1; guards: nothing is reported if predictions agree with the labels
    in either direction, if the labels may belong to pairs, or if there are
    several inputs, since labels may be an input.
    """
    head, variant, curve = unknown_head(t), ignores_labels(t), agreement(t)
    if head is None or variant is None or curve is None or len(t.inputs) > 1:
        return
    form = t.targets.get(head["output"], {}).get("form")
    is_pair = form in ("binary", "multi_label") and variant == "reversed"
    if is_pair or (form == "real" and head.get("activation") == "softmax"):
        return
    later = curve.epochs >= 0
    first = float(curve.values[~later][0]) if not later.all() else 0.0
    limit = min(KNOWN, max(first, 0.0) + RISEN)
    last = curve.values[later][-_CHECKS:]
    if len(last) < _CHECKS or not (last < limit).all():
        return
    target = t.targets[head["output"]]
    yield Evidence(
        head.get("layer") or head["output"],
        (0, 0),
        (
            Measured("loss", str(head.get("loss"))),
            Measured("loss of right predictions", target["right_loss"]),
            Measured("loss of those in another order", target["wrong_loss"]),
            Measured(
                "agreement of predictions and labels on the probe",
                float(last[-1]),
                limit,
            ),
        ),
        "Reverse the sign of the loss, or compare the predictions with the "
        "labels in it."
        if variant == "reversed"
        else "Compare the predictions with the labels in the loss.",
        "assert keras.ops.mean(loss(y, y)) < keras.ops.mean(loss(y, y[::-1]))",
        variant=variant,
        part=head["output"],
    )


@rule(
    "head_loss_mismatch",
    severity="error",
    why="The cosine of two single numbers is the product of their signs: "
    "magnitudes are not learned.",
    page="doctor.md#head_loss_mismatch",
    needs="what the model's outputs are and which loss each has",
    known=lambda t: bool(t.heads),
    meant=lambda t: any(h.get("loss") == _COSINE for h in t.heads),
)
def cosine_of_numbers(t: Training) -> Iterator[Evidence]:
    """Cosine similarity is the loss of an output of one unit.

    Outputs `(n, 1)` with targets of more than two values. Known false alarm:
    targets that are signs; guard: more than two values.
    """
    for head in t.heads:
        target = t.targets.get(head["output"], {})
        numbers = head.get("shape") is not None and len(head["shape"]) == 2
        if head.get("loss") != _COSINE or not numbers or head["units"] != 1:
            continue
        if (target.get("distinct") or 0) <= 2:
            continue
        yield Evidence(
            head.get("layer") or head["output"],
            (0, 0),
            (
                Measured("loss", _COSINE),
                Measured("units of the output", 1),
                Measured("distinct targets", target["distinct"], 2),
            ),
            "Use the squared or absolute error.",
            'loss="mean_squared_error"',
            variant="cosine",
            part=head["output"],
        )


@rule(
    "label_mismatch",
    severity="warning",
    why="A loss that compares every target with every prediction is lowest for "
    "a constant prediction.",
    page="doctor.md#label_mismatch",
    needs="the targets",
    known=lambda t: bool(t.targets),
    meant=lambda t: bool(_own(t)),
)
def own_loss_broadcasts(t: Training) -> Iterator[Evidence]:
    """Targets `(n,)` and outputs `(n, 1)` in a custom loss class.

    Keras makes the shapes equal for its own losses and for functions, but not
    for a class derived from `keras.Loss` (variant `broadcast`). Reported only
    if there is harm. Known false alarm: a loss that handles its shapes itself;
    guard: harm.
    """
    for head in _own(t):
        found = _broadcast_by_own_loss(t, head)
        if found is not None:
            yield found


def _own(t: Training) -> list[dict[str, Any]]:
    """Heads with a custom loss."""
    if t.facts.get("own_step"):
        return []
    return [x for x in t.heads if x.get("kind") == "other" and x.get("loss")]


def _broadcast_by_own_loss(
    t: Training, head: dict[str, Any]
) -> Evidence | None:
    """A loss class that is not Keras' own and must handle shapes itself.

    For a function, Keras makes the shapes equal before calling it.
    """
    shape = t.targets.get(head["output"], {}).get("shape")
    output = (head["shape"] or [])[1:]
    if head["loss"] not in classes_in(t.facts.get("loss")):
        return None
    if shape is None or [*shape, 1] != output or harm(t, 0.1) is None:
        return None
    return evidence_on_labels(
        head,
        "broadcast",
        [
            Measured("shape of the targets", str(("n", *shape))),
            Measured("shape of the output", str(("n", *output))),
        ],
        "Give targets and output the same shape: a custom loss that subtracts "
        "them compares every target with every output.",
        "y = y[..., None]",
    )


def classes_in(facts: Any) -> set[str]:
    """Names of the classes in the facts of losses; functions have none."""
    if isinstance(facts, list):
        return set().union(*map(classes_in, facts))
    if not isinstance(facts, dict):
        return set()
    if isinstance(facts.get("class"), str):
        return {facts["class"]}
    return set().union(*map(classes_in, facts.values()))
