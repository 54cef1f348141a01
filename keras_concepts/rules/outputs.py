"""Whether each of several outputs has learned something."""

from collections.abc import Iterator
from typing import Any

from keras_concepts.rules.finding import Evidence, Measured
from keras_concepts.rules.harm import (
    Scale,
    is_a_first_try,
    scale_of_validation,
    stays_low,
)
from keras_concepts.rules.progress import NO_MEMORY, NO_SKILL
from keras_concepts.rules.rule import rule
from keras_concepts.rules.training import Curve, Training

# Share of the planned epochs: long plateaus may end late. Source: as for the
# whole loss, rules.progress.
_HALF = 0.5


@rule(
    "no_progress",
    severity="info",
    why="The sum of the losses falls because other outputs learn; a constant "
    "prediction would do as well for this one.",
    page="doctor.md#no_progress",
    needs="the loss of each output in the logs",
    known=lambda t: any(_skill(t, head) for head in t.heads),
    meant=lambda t: len(t.heads) > 1,
)
def output_without_progress(t: Training) -> Iterator[Evidence]:
    """One of several outputs is no better than a constant prediction.

    After half of the epochs, its loss in the logs is less than 5 % below that
    of a constant (variant `output`; less than 20 % if its validation loss was
    never below a constant's), and will still be at the end at the current pace.
    It is only information, since other rules judge the outputs together. Known
    false alarms: outputs that must not learn, as in adversarial training;
    noise; long plateaus, guard: half of the epochs.
    """
    if len(t.heads) < 2 or is_a_first_try(t):
        return
    if t.ended_epochs < _HALF * t.planned_epochs or t.broken_at is not None:
        return
    for head in t.heads:
        learned = _skill(t, head)
        limit = NO_MEMORY if _validates_nothing(t, head) else NO_SKILL
        if not learned or not stays_low(t, learned.values, limit):
            continue
        yield Evidence(
            head["output"],
            learned.since(learned.values < limit)
            if learned.values[-1] < limit
            else learned.at(len(learned.values) - 1),
            (
                Measured(
                    "share of the constant predictor's loss of this output "
                    "that was removed",
                    float(learned.values[-1]),
                    limit,
                ),
            ),
            "Train the model for this output alone: if that fails, its labels "
            "do not belong to the inputs, or are mostly noise; else give its "
            "loss more weight.",
            "model.compile(model.optimizer, model.loss, "
            f"loss_weights={{{head['output']!r}: 1.0}})",
            variant="output",
            part=head["output"],
        )


def _validates_nothing(t: Training, head: dict[str, Any]) -> bool:
    """Whether its validation loss was never below that of a constant."""
    seen = _skill(t, head, "val_")
    known = bool(seen) and scale_of_validation(t) is not None
    return known and bool(seen.values.max() < 0.02)


def _skill(t: Training, head: dict[str, Any], prefix: str = "") -> Curve:
    """Skill of an output after each epoch; empty if it is not known."""
    target = t.targets.get(head["output"], {})
    loss = t.logs(f"{prefix}{head['output']}_loss").finite
    constant = target.get("constant_loss")
    perfect = target.get("perfect_loss") or 0.0
    unused = head.get("loss_weight") == 0.0 or target.get("negative_weights")
    if constant is None or unused or constant <= perfect + 1e-9:
        return Curve(*(column[:0] for column in loss))
    scale = Scale(perfect, constant - perfect)
    return loss._replace(values=scale.skill(loss.values))
