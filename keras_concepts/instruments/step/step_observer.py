"""Measuring the steps of one `fit` that a schedule asks for."""

from collections.abc import Callable, Collection
from typing import Any

from keras_concepts.instruments.step.capture_updates import Heard
from keras_concepts.instruments.step.schedule import Schedule


class StepObserver:
    """Taps the steps of one `fit` that its schedule asks for.

    Args:
        model: A compiled model.
        schedule: Which steps to measure.
        capacity: Steps to hold on the device; when they are full, or the epoch
            ends, the host reads them.
        first_step: Number of the first step.
        make_tap: From the trainable variables, what measures a step: an object
            with `buffer`, `record(heard)` and `read(steps)`.
        hears: What the tap asks for beside gradients and weights: any of
            `"parts"` (`heard.parts`), `"batch_norms"` (`heard.batch_norms`) and
            `"batch"` (`heard.batch` and `heard.others`).
        when_full: Called with what was read as soon as the device is full;
            `read` does not give it again.
        can_reject: Whether `rejects` may ever be true.

    Attributes:
        rejects: Whether the weights shall be as before the last step.
    """

    def __init__(
        self,
        model: Any,
        schedule: Schedule,
        capacity: int,
        first_step: int,
        make_tap: Callable[..., Any],
        hears: Collection[str] = (),
        when_full: Callable[[Any], None] | None = None,
        can_reject: bool = False,
    ) -> None:
        self.schedule = schedule
        self.capacity = max(capacity, model.steps_per_execution)
        self.hears = hears
        self.can_reject = can_reject
        self.rejects = False
        self._when_full = when_full
        self.tap: Any = None
        self._make_tap = make_tap
        # A model without an input shape is built by its first step. (On JAX
        # and torch `fit` has built every model by now.)
        if model.built:
            self.tap = self._tap(model.trainable_variables)
        self._pending: list[int] = []
        self._read: list[Any] = []
        self._first_step = first_step
        self._step = first_step
        self._epoch_start = first_step
        self._epoch_steps: int | None = None

    @property
    def epoch_start(self) -> int:
        """Number of the first step of the epoch."""
        return self._epoch_start

    @property
    def steps(self) -> int:
        """Steps that were taken since the beginning."""
        taken = self._step
        if self._epoch_steps is not None:
            taken = min(taken, self._epoch_start + self._epoch_steps)
        return taken - self._first_step

    def _tap(self, variables: list[Any]) -> Any:
        return self._make_tap(variables, capacity=self.capacity)

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch of `steps` steps, or of unknown length."""
        if self._epoch_steps is not None:
            # Where one execution is several steps, the last may be cut short.
            self._step = self._epoch_start + self._epoch_steps
        self._epoch_start = self._step
        self._epoch_steps = steps
        self.schedule.begin_epoch(steps)

    def record(self, heard: Heard) -> None:
        """Measures a step, inside it."""
        if self.tap is None:
            self.tap = self._tap(heard.variables)
        self.tap.record(heard)

    def make_room(self, steps: int) -> None:
        """Reads the device's buffer if `steps` more would not fit."""
        if len(self._pending) + steps > self.capacity:
            self._drain()

    def advance(self, steps: int, measured: bool) -> None:
        """Counts steps that were taken."""
        if measured:
            self._pending += range(self._step, self._step + steps)
        self._step += steps
        self.schedule.advance(steps, measured)
        if self._when_full and len(self._pending) + steps > self.capacity:
            self._drain()
            for samples in self.read():
                self._when_full(samples)

    def _drain(self) -> None:
        if self.tap is not None and self._pending:
            self._read.append(self.tap.read(self._pending))
        self._pending = []

    def read(self) -> list[Any]:
        """Everything measured since the last call, as the tap's `read` gave."""
        self._drain()
        samples, self._read = self._read, []
        return samples
