"""What measures a step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from keras_concepts.instruments.step.step_record import StepRecord

Captured = TypeVar("Captured")
Samples = TypeVar("Samples", covariant=True)


class Tap(Protocol[Captured, Samples]):
    """Measures the steps of a training run, each inside the compiled step.

    In each measured step the engine enters `capture`, runs the model's own
    step, leaves it, and hands what it yielded to `record`. The host calls
    `read` once the steps have run.

    A tap is made before the model may have variables, and `buffer` is asked for
    where they may have no values (on JAX, during an epoch). So whatever depends
    on the variables is derived when it is first needed, from their shapes.
    """

    @property
    def capacity(self) -> int:
        """Number of steps that `buffer` holds, at least 1."""
        ...

    @property
    def buffer(self) -> Any:
        """`_backend.StepBuffer` on the device, made when first asked for."""
        ...

    def capture(self, step: StepRecord) -> AbstractContextManager[Captured]:
        """Captures what `record` needs and the record of the step lacks.

        What was captured is yielded, and not kept on the tap: a distributed
        step may run in several threads with one tap.

        Args:
            step: Its fields `model`, `loss_tracker`, `batch` and `untrained`
                are known. The others are filled in by the step.
        """
        ...

    def record(self, step: StepRecord, captured: Captured) -> None:
        """Reduces a step on the device and appends it to `buffer`.

        Args:
            step: The completed record.
            captured: What `capture` yielded for this step.
        """
        ...

    def read(self, steps: Sequence[int], /) -> Samples:
        """Fetches the recorded steps to the host and empties `buffer`.

        Args:
            steps: Number of each step recorded since the last call. An
                execution of several steps may have been cut short at the end of
                the data, so that fewer were recorded.
        """
        ...
