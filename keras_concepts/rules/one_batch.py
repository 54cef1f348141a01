"""What a preflight finds by training a copy of the weights on one batch."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.gradients import counts_alone
from keras_concepts.rules.heads import judged_heads
from keras_concepts.rules.rule import rule
from keras_concepts.rules.start import LEARNED, was_not_learned
from keras_concepts.rules.training import Training


def _batch(t: Training) -> dict[str, Any] | None:
    return (t.facts.get("checks") or {}).get("batch")


@rule(
    "no_progress",
    severity="warning",
    why="A model that cannot fit a handful of rows will not fit all of them: "
    "the fault is in the model, the loss or the labels, not in the difficulty "
    "of the data.",
    page="doctor.md#no_progress",
    needs="a trial on one batch",
    known=lambda t: _batch(t) is not None and bool(judged_heads(t)),
    meant=lambda t: t.is_preflight,
)
def batch_not_learned(t: Training) -> Iterator[Evidence]:
    """A few dozen steps on one batch do not reduce its loss.

    40 steps of Adam on up to 16 rows, at learning rates of 0.003, 0.0003 and
    0.03 in turn, until one reduces the loss by a tenth (variant `batch`).
    Layers are called as in training, but without dropout; penalties are left
    out.

    Known false alarms: a model of few weights (nothing is tried with fewer than
    ten weights per row); one that knows the batch already (a loss below half
    the constant predictor's counts as learned).
    """
    batch = _batch(t)
    if batch is None or not was_not_learned(t):
        return
    yield Evidence(
        owner="",
        since=(0, 0),
        measured=(
            Measured("loss of the batch", batch["before"]),
            Measured(
                f"loss after {batch['steps']} steps on it",
                batch["after"],
                (1 - LEARNED) * batch["before"],
            ),
            Measured("rows", batch["rows"]),
        ),
        advice="Make the model fit one batch before you train it on more: look "
        "at the outputs of each layer, and where the gradient stops.",
        code="kc.callbacks.SignalMonitor(probe=(x[:16], y[:16]))",
        variant="batch",
        part="batch",
    )


@rule(
    "untrained_variable",
    severity="warning",
    why="No gradient reaches the variable, so training does not change it.",
    page="doctor.md#untrained_variable",
    needs="a trial on one batch",
    known=lambda t: bool((t.facts.get("checks") or {}).get("moved")),
    meant=lambda t: t.is_preflight,
)
def no_gradient(t: Training) -> Iterator[Evidence]:
    """The gradient of a trainable variable is exactly 0 in every entry.

    This holds before the first step and in all steps of the trial on one batch
    (variant `batch`), so layers below a head of zeros are not reported; and for
    up to 256 other rows, since only a few rows may use some part of the model,
    such as an expert.

    Known false alarm: vectors that cancel out by design, such as the bias of
    the keys in attention; vectors are reported only if no variable of their
    layer has a gradient.
    """
    moved = t.facts["checks"]["moved"]
    rows = t.facts["checks"].get("moved_rows")
    still = [v for v in t.variables if moved.get(v["path"]) is False]
    alive = {v["layer"] for v in t.variables if moved.get(v["path"])}
    found = [v["path"] for v in still if counts_alone(v, alive)]
    if not found:
        return
    yield Evidence(
        owner=found[-1],  # where the gradient arrives first, going backward
        since=(0, 0),
        measured=(
            Measured("largest entry of the gradient", 0.0, 0.0),
            Measured("variables without a gradient", len(found)),
            *(() if rows is None else (Measured("rows", rows),)),
            Measured("trainable variables", len(moved)),
        ),
        advice="Connect its layer to an output that has a loss, or freeze the "
        "layer; look for units after it that are always 0.",
        code="layer.trainable = False",
        variant="batch",
    )
