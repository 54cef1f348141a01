"""Measurements of a step whose optimizer or loss metric was not seen."""

from typing import Any

import keras
from keras import ops

from keras_concepts.instruments.step.step_record import StepRecord, Update


def unseen_update(
    step: StepRecord,
    variables: list[Any],
    before: list[Any],
    after: list[Any],
) -> Update:
    """Weight changes that were not made by a watched optimizer.

    Args:
        step: The step; variables of its updates are left out.
        variables: Trainable variables.
        before: Their values before the step.
        after: Their values after it; empty if the variables hold them.
    """
    seen = {id(v) for update in step.updates for v in update.variables}
    after = after or [
        ops.stop_gradient(ops.convert_to_tensor(v)) for v in variables
    ]
    rows = [
        row
        for row in zip(variables, before, after, strict=True)
        if id(row[0]) not in seen
    ]
    count = len(rows)
    changed = [ops.any(ops.not_equal(old, new)) for _, old, new in rows]
    return Update(
        variables=[variable for variable, _, _ in rows],
        gradients=[None] * count,
        before=[old for _, old, _ in rows],
        after=[new for _, _, new in rows],
        scales=[1.0] * count,
        rates=[float("nan")] * count,
        applied=ops.any(ops.stack(changed)) if changed else 0,
        optimizers=[None] * count,
    )


def batch_size(batch: Any) -> Any:
    """Samples in a batch: the length of the first array in it."""
    for each in keras.tree.flatten(batch):
        if len(getattr(each, "shape", ())):
            return ops.shape(each)[0]
    return float("nan")
