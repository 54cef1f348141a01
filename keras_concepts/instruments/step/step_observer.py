"""The steps of one `fit` that one tap measures."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.instruments.step.tap import Tap

Samples = TypeVar("Samples")


class StepObserver(Generic[Samples]):
    """Decides which steps a tap measures, counts them and reads the tap.

    When the tap's buffer is full, or the epoch ends, the host reads it.

    Args:
        name: Name of the observer, for messages.
        tap: The tap that measures a step.
        schedule: The steps to measure.
        first_step: Number of the first step.
        when_full: Called with the samples as soon as the buffer is full; `read`
            does not return them again.
        can_reject: Whether `rejects` may ever be true.
        make_tap: Makes another tap when the model has been compiled again.

    Attributes:
        attached_to: The object through which it sees the steps, while attached.
        listener: Called with a text on what cannot be measured, instead of a
            warning.
        rejects: Whether to restore the weights from before the last step.
        measured: The `MeasuredStep` that its tap is part of, once there is one,
            or was at the end of an earlier `fit`.
        kept_tap: The tap in that step, if it is that of an earlier `fit`.
    """

    def __init__(
        self,
        name: str,
        tap: Tap[Any, Samples],
        schedule: Schedule,
        first_step: int,
        when_full: Callable[[Samples], None] | None = None,
        can_reject: bool = False,
        make_tap: Callable[[], Tap[Any, Samples]] | None = None,
    ) -> None:
        self.name = name
        self.tap = tap
        self.schedule = schedule
        self.can_reject = can_reject
        self.attached_to: Any = None
        self.listener: Callable[[str], Any] | None = None
        self.rejects = False
        self.measured: Any = None
        self.kept_tap: Tap[Any, Samples] | None = None
        self._when_full = when_full
        self._make_tap = make_tap
        self._pending: list[int] = []
        self._read: list[list[Samples]] = [[]]
        self._first_step = first_step
        self._step = first_step
        self._epoch_start = first_step
        self._epoch_steps: int | None = None

    @property
    def epoch_start(self) -> int:
        """Number of the first step of the epoch."""
        return self._epoch_start

    @property
    def steps_of_epoch(self) -> int:
        """Steps taken since the start of the epoch."""
        return self._step - self._epoch_start

    @property
    def steps(self) -> int:
        """Steps taken since the start."""
        taken = self._step
        if self._epoch_steps is not None:
            taken = min(taken, self._epoch_start + self._epoch_steps)
        return taken - self._first_step

    def start_at(self, step: int) -> None:
        """Changes the number of the first step, before it is taken."""
        self._first_step = self._step = self._epoch_start = step

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch of `steps` steps, or of unknown length."""
        if self._epoch_steps is not None:
            # If an execution has several steps, the last may be cut short.
            end = self._epoch_start + self._epoch_steps
            self._step = min(self._step, end)
        self._epoch_start = self._step
        self._epoch_steps = steps
        self.schedule.begin_epoch(steps)

    def make_room(self, steps: int) -> None:
        """Reads the tap's buffer if it cannot hold `steps` more."""
        if not self._has_room(steps):
            self._drain()

    def advance(self, steps: int, measured: bool) -> None:
        """Counts steps that were taken."""
        if measured:
            self._pending += range(self._step, self._step + steps)
        self._step += steps
        self.schedule.advance(steps, measured)
        if self._when_full and not self._has_room(steps):
            self._drain()
            for samples in self.read():
                self._when_full(samples)

    def correct(self, steps: int) -> None:
        """Sets the steps of the epoch that has just ended.

        Args:
            steps: Steps really taken; the last execution may be cut short.
        """
        self.schedule.advance(steps - self.steps_of_epoch, measured=False)
        self._step = self._epoch_start + steps
        self._epoch_steps = None

    def renew_tap(self) -> None:
        """Lets another tap measure from now on, after the model has changed."""
        if self._make_tap is not None:
            self._drain()
            self._read.append([])
            self.tap = self._make_tap()
            self.measured = self.kept_tap = None

    def take_over(self, earlier: "StepObserver[Samples]") -> None:
        """Offers what an earlier `fit` measured with; it may be used again.

        Args:
            earlier: The observer of that `fit`, which ended without raising.
        """
        # If it never measured, it still has what the one before it left.
        tap = earlier.kept_tap or earlier.tap
        same = type(tap) is type(self.tap) and tap.capacity == self.tap.capacity
        if same and not earlier._pending:
            self.measured, self.kept_tap = earlier.measured, tap

    def use_kept_tap(self) -> None:
        """Lets the tap of the earlier `fit` measure."""
        if self.kept_tap is not None:
            self.tap, self.kept_tap = self.kept_tap, None

    def read(self) -> list[Samples]:
        """Everything measured since the last call, as from the tap's `read`."""
        return [samples for each in self.read_by_tap() for samples in each]

    def read_by_tap(self) -> list[list[Samples]]:
        """The same, with a list for each tap that measured something."""
        self._drain()
        samples, self._read = self._read, [[]]
        return [each for each in samples if each]

    def _has_room(self, steps: int) -> bool:
        return len(self._pending) + steps <= self.tap.capacity

    def _drain(self) -> None:
        if self._pending:
            self._read[-1].append(self.tap.read(self._pending))
        self._pending = []
