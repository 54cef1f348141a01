"""How much of a training run's time may go into measuring."""

import contextlib
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator

from keras_concepts.instruments.step.schedule import Schedule

# Compiling the measured step takes this much longer than the plain one.
_COMPILE_RATIO = 3.0
# A run that has lasted so many times as long is long enough, if its length is
# not known.
_LONG_ENOUGH = 40.0
# Of the budget, what may be spent beside the steps: the rest is for measured
# steps of two schedules.
_BESIDE = 0.5
# How many steps are measured to see what that costs, and how many are not; of
# steps that take long, as few as fill a second, but not fewer than the second.
_MEASURED, _PLAIN = (48, 8), (16, 4)
_LONG = 1.0


class TimeBudget:
    """Time that measuring takes, as a share of the time that training takes.

    Args:
        share: Largest share, such as 0.1; `None` for no limit.
        compiles: Whether the first step of a train function takes long, since
            it is compiled.
        clock: Seconds.
    """

    def __init__(
        self,
        share: float | None,
        compiles: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.share = share
        self.spent = 0.0
        self._clock = clock
        self._compiles = compiles
        self._begin = clock()
        self._first_end: float | None = None
        self._steps = 0
        self._planned: int | None = None
        self._last = 0.0
        self.may_measure_steps = share is None or not compiles
        # Between two measured steps, once it is known what measuring one costs.
        self.spacing = 1

    def plan(self, steps: int | None, epochs: int) -> None:
        """How long the run is to be, as far as it is known.

        Args:
            steps: Of an epoch.
            epochs: Of the run.
        """
        self._planned = None if steps is None else steps * max(epochs, 1)

    def step_begins(self, step: int) -> None:
        """Looks at the clock, and may decide to measure from now on.

        Args:
            step: Steps taken since the run began.
        """
        if self.may_measure_steps:
            return
        now = self._clock()
        if self._first_end is None:
            if step > 0:
                self._first_end, self._steps = now, step
                self._compile_time = now - self._begin
            return
        taken = step - self._steps
        elapsed = now - self._first_end
        cost = _COMPILE_RATIO * self._compile_time
        if taken < 1 or self.share is None:
            return
        total = elapsed
        if self._planned is not None:
            total = elapsed / taken * self._planned
        elif elapsed < _LONG_ENOUGH * self._compile_time:
            return
        self.may_measure_steps = cost <= self.share * total

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time inside the with-block as spent."""
        begin = self._clock()
        try:
            yield
        finally:
            self._last = self._clock() - begin
            self.spent += self._last

    def allows(self) -> bool:
        """Whether what took the time of the last measurement may come again."""
        if self.share is None:
            return True
        trained = self._clock() - self._begin - self.spent
        return self.spent + self._last <= _BESIDE * self.share * trained


class GatedSchedule(Schedule):
    """A schedule that begins once the time budget allows to measure steps.

    Args:
        inner: Which steps to measure from then on.
        budget: Decides when.
        at_step: Called with the number of steps taken, before the next.
    """

    def __init__(
        self,
        inner: Schedule,
        budget: TimeBudget,
        at_step: Callable[[int], None] | None = None,
    ) -> None:
        super().__init__(inner.every, inner.max_samples)
        self._inner = inner
        self._budget = budget
        self._at_step = at_step
        self._total = 0
        self._next = 0

    @property
    def takes_all(self) -> bool:
        """Whether every step is measured, once any is."""
        return self._inner.takes_all

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch."""
        self._inner.begin_epoch(steps)

    def due(self, steps: int = 1) -> bool:
        """Whether one of the next `steps` steps is to be measured."""
        self._budget.step_begins(self._total)
        if self._at_step is not None:
            self._at_step(self._total)
        if not self._budget.may_measure_steps or self._total < self._next:
            return False
        return self._inner.due(steps)

    def advance(self, steps: int, measured: bool) -> None:
        """Counts `steps` steps that were taken together."""
        self._total += steps
        if measured:
            self._next = self._total - 1 + self._budget.spacing
        self._inner.advance(steps, measured)


class RareSchedule(GatedSchedule):
    """A gated schedule that measures every step only where that costs little.

    The first steps are measured, the next are not; after that so many are that
    the budget is kept.

    Args:
        inner: Which steps to measure while that costs little.
        budget: Decides when to begin.
        share: Of the time of a plain step, that measuring may add.
        clock: Seconds.
    """

    def __init__(
        self,
        inner: Schedule,
        budget: TimeBudget,
        share: float = 0.02,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        super().__init__(inner, budget)
        self._share = share
        self._clock = clock
        # When each step of the trial began: measured ones, and then plain ones.
        self._times: list[list[float]] = [[], []]

    @property
    def takes_all(self) -> bool:
        """Whether every step is measured: that shows only after some."""
        return False

    def due(self, steps: int = 1) -> bool:
        """Whether one of the next `steps` steps is to be measured."""
        if not super().due(steps):
            return False
        if self._budget.share is None or not self._budget.may_measure_steps:
            return True
        measured, plain = self._times
        if not _is_enough(measured, *_MEASURED):
            measured.append(self._clock())
            return True
        if not _is_enough(plain, *_PLAIN):
            plain.append(self._clock())
            if _is_enough(plain, *_PLAIN):
                self._budget.spacing = self._interval()
            return False
        return True

    def _interval(self) -> int:
        # The first two may have compiled something.
        measured, plain = (
            statistics.median(b - a for a, b in itertools.pairwise(times))
            for times in (self._times[0][2:], self._times[1])
        )
        if plain <= 0.0:  # a clock too coarse to tell
            return 1
        return max(1, math.ceil((measured / plain - 1.0) / self._share))


def _is_enough(times: list[float], most: int, least: int) -> bool:
    """Whether steps that began then tell how long a step takes."""
    if len(times) <= least:
        return False
    return len(times) > most or times[-1] - times[0] > _LONG


def checks_of_an_epoch(epoch: int, planned: int) -> bool:
    """Whether a run is looked at after an epoch, whatever it costs.

    After the first and at the end; of ten epochs or more also at a tenth, a
    fifth and half of them.

    Args:
        epoch: From 1.
        planned: Epochs of the run.
    """
    shares = (0.1, 0.2, 0.5) if planned >= 10 else ()
    between = {math.ceil(share * planned) for share in shares}
    return epoch in {1, planned} | between
