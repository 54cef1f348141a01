"""The interface of what measures a step."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from keras_concepts.instruments.step.step_record import StepRecord

Captured = TypeVar("Captured")
Samples = TypeVar("Samples", covariant=True)


class Tap(Protocol[Captured, Samples]):
    """Measures the steps of a training run, each inside the compiled step.

    In each measured step the engine enters `capture`, runs the model's own
    step, leaves `capture`, and passes what it yielded to `record`. The host
    calls `read` once the steps have run.

    A tap may be created before the model has variables, and `buffer` may be
    read when they have no values (on JAX, during an epoch). So everything that
    depends on the variables is derived from their shapes when first needed.
    """

    @property
    def capacity(self) -> int:
        """Number of steps that `buffer` holds, at least 1."""
        ...

    @property
    def buffer(self) -> Any:
        """`_backend.StepBuffer` on the device, created on first use."""
        ...

    def capture(self, step: StepRecord) -> AbstractContextManager[Captured]:
        """Captures what `record` needs beyond the record of the step.

        Captured values are yielded rather than stored on the tap: a distributed
        step may run in several threads with one tap.

        Args:
            step: The step. Its fields `model`, `loss_tracker`, `batch` and
                `untrained` are known; the step fills in the others.
        """
        ...

    def record(self, step: StepRecord, captured: Captured) -> None:
        """Reduces a step on the device and appends it to `buffer`.

        Args:
            step: The completed record.
            captured: The value that `capture` yielded for this step.
        """
        ...

    def read(self, steps: Sequence[int], /) -> Samples:
        """Fetches the recorded steps to the host and empties `buffer`.

        Args:
            steps: Number of each step recorded since the last call. If an
                execution of several steps was cut short at the end of the data,
                fewer were recorded.
        """
        ...
