"""What a preflight finds by training a copy of the weights on one batch."""

from collections.abc import Iterator
from typing import Any

from keras_concepts import quantities as q
from keras_concepts.rules.finding import Evidence, Measured
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
    "the fault is in model, loss or labels, not in the data's difficulty.",
    page="doctor.md#no_progress",
    needs="a trial on one batch",
    known=lambda t: _batch(t) is not None and bool(judged_heads(t)),
    meant=lambda t: t.is_preflight,
)
def batch_not_learned(t: Training) -> Iterator[Evidence]:
    """A few dozen steps on one batch that take nothing off its loss.

    40 steps of Adam on up to 16 rows, at learning rates of 0.003, 0.0003 and
    0.03 in turn, until one reduces the loss by a tenth (variant `batch`).
    Layers are called as in training, but without dropout; penalties do not
    count.

    Known false alarms: a model of few weights (there must be ten weights per
    row, or nothing is tried); one that knows the batch already (below half the
    constant predictor's loss counts as learned).
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
                f"its loss after {batch['steps']} steps",
                batch["after"],
                (1 - LEARNED) * batch["before"],
            ),
            Measured("rows", batch["rows"]),
        ),
        advice="Make it fit one batch before you train it on more: look at "
        "what comes out of each layer, and where the gradient stops.",
        code="kc.callbacks.SignalMonitor(probe=(x[:16], y[:16]))",
        variant="batch",
        part="batch",
    )


@rule(
    "untrained_variable",
    severity="warning",
    why="No gradient reaches it, so that training leaves it as it is.",
    page="doctor.md#untrained_variable",
    needs="a trial on one batch",
    known=lambda t: bool((t.facts.get("checks") or {}).get("moved")),
    meant=lambda t: t.is_preflight,
)
def no_gradient(t: Training) -> Iterator[Evidence]:
    """A trainable variable of which every entry of the gradient is exactly 0.

    Before the first step and in all steps of the trial on one batch (variant
    `batch`), so that layers behind a head of zeros do not count.

    Known false alarm: vectors that cancel by design, such as the bias of an
    attention's keys; vectors are reported only if all variables of their layer
    are without a gradient.
    """
    moved = t.facts["checks"]["moved"]
    still = [v for v in t.variables if moved.get(v["path"]) is False]
    alive = {v["layer"] for v in t.variables if moved.get(v["path"])}
    matrices = (q.WEIGHT, q.SCORE)
    found = [
        v["path"]
        for v in still
        if v.get("role") in matrices or v["layer"] not in alive
    ]
    if not found:
        return
    yield Evidence(
        owner=found[-1],  # where the gradient arrives first, going backward
        since=(0, 0),
        measured=(
            Measured("largest entry of the gradient", 0.0, 0.0),
            Measured("variables without one", len(found)),
            Measured("trainable variables", len(moved)),
        ),
        advice="Connect its layer with an output that has a loss, or freeze "
        "it; look for units after it that are always 0.",
        code="layer.trainable = False",
        variant="batch",
    )
