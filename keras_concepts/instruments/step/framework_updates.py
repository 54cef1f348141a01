"""What a native optimizer of the framework does to Keras variables."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.step.step_record import StepRecord, Update


@contextlib.contextmanager
def capture_framework_updates(
    step: StepRecord,
    optimizer: Any,
    variables: list[Any],
    then: Callable[[], None],
) -> Iterator[None]:
    """Fills in `step` at each step of an optimizer such as `torch.optim.Adam`.

    Args:
        step: The record to fill in.
        optimizer: The optimizer.
        variables: Keras variables, some or all of which it trains.
        then: Called after each step.
    """

    def record(
        gradients: list[Any], before: list[Tensor], rates: list[float]
    ) -> None:
        count = len(variables)
        after = [ops.convert_to_tensor(variable) for variable in variables]
        step.updates.append(
            Update(
                variables,
                gradients,
                before,
                [ops.stop_gradient(tensor) for tensor in after],
                [1.0] * count,
                rates,
                1,
                [None] * count,
            )
        )
        then()

    with _backend.framework_updates(optimizer, variables, record):
        yield
