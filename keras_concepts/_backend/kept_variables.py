"""The variables of a model in training, kept to be restored after a step."""

from collections.abc import Callable
from typing import Any

import keras

from keras_concepts._backend.keras_internals import optimizer_variables


def keep_variables(
    model: Any, snapshot: Callable[[Any], Any]
) -> Callable[[], None]:
    """Keeps the values of all variables that a training step may change.

    Args:
        model: A compiled model.
        snapshot: Copies the value of a variable.

    Returns:
        A function that assigns them again. Variables that the optimizer has
        created since then become 0.
    """
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer_variables(model)
    values = [snapshot(variable) for variable in variables]

    def restore() -> None:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        known = set(map(id, variables))
        for variable in optimizer_variables(model):
            if id(variable) not in known:
                variable.assign(keras.ops.zeros_like(variable))

    return restore
