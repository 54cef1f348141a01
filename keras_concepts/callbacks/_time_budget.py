"""How much of a training run's time measuring may take."""

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from keras_concepts import _backend
from keras_concepts.instruments.step.schedule import Schedule

# Compiling the measured step takes this many times as long as the plain one.
_COMPILE_RATIO = 3.0
# If its length is not known, a run is long enough once it has lasted this many
# times as long as compiling took.
_LONG_ENOUGH = 40.0
# Shares of the budget for looks between epochs and for measured steps.
_LOOKS, _STEPS = 0.5, 0.2
# The looks planned in any case may take the first share of the budget
# together, or the second one each.
_PLANNED_LOOKS, _CHEAP_LOOK = 1.0, 0.1
# The first look may be slow only because it is the first: the second look, with
# the last one, may take this many times the budget.
_FIRST_LOOKS = 2.0
# If looks are compiled, compiling one takes seconds for a model with this many
# layers: about this many times as long as the training step.
_MANY_LAYERS, _LOOK_RATIO = 50, 2.0
# Steps to measure to find out their cost, each next to one that is not: at most
# and at least. Between the two they end once they have taken `_LONG` seconds.
# In a short run they are at most a tenth of its steps, but at least `_FEWEST`.
_MOST, _LEAST = 32, 8
_LONG = 1.0
_SHARE_OF_RUN, _FEWEST = 0.1, 5
# Steps to leave out at the beginning: they may compile something.
_FIRST = 2


class Budget:
    """What may be measured: here everything.

    All monitors get the same answers: in a step that is measured anyway,
    another monitor costs little. A subclass has a limit.
    """

    is_limited = False

    def __init__(self) -> None:
        self._asked_at = -1
        self._is_allowed = False
        self._of_epoch = 0  # steps asked about

    def plan(self, steps: int | None, epochs: int) -> None:
        """Sets the length of the run, as far as it is known.

        Args:
            steps: Steps of an epoch.
            epochs: Epochs of the run.
        """

    def begin_epoch(self) -> None:
        """Begins an epoch: validation may have followed the step before."""
        self._of_epoch = 0

    def go_on(self, is_compiled: bool) -> None:
        """Begins another `fit`.

        Args:
            is_compiled: Whether what measured the last one measures this one.
                If not, it is measured once there is time to compile that again.
        """
        del is_compiled
        self._asked_at = -1

    def allows_step(self, step: int) -> bool:
        """Whether the step (or group of steps) that begins may be measured.

        Args:
            step: Steps taken since the run began.
        """
        if step != self._asked_at:
            self._asked_at = step
            self._of_epoch += 1
            self._is_allowed = self._allows_next(step)
        return self._is_allowed

    def _allows_next(self, step: int) -> bool:
        del step
        return True

    def end_measured_step(self, taken: int) -> None:
        """Notes the end of a measured step.

        Args:
            taken: Steps taken since the run began, this one included.
        """

    def spending(self) -> contextlib.AbstractContextManager[None]:
        """Counts the time inside the with-block as spent."""
        return contextlib.nullcontext()

    def looking(self) -> contextlib.AbstractContextManager[None]:
        """Remembers how long a look takes; `spending` counts that time."""
        return contextlib.nullcontext()

    def allows_look(self) -> bool:
        """Whether there is time for another look."""
        return True

    def allows_first_look(self, layers: int) -> bool:
        """Whether a model may be looked at for the first time.

        Args:
            layers: Number of layers of the model.
        """
        del layers
        return True

    def allows_planned_look(self, done: float) -> bool:
        """Whether there is time for one of the looks planned for each run.

        Args:
            done: Share of the run that is over.
        """
        del done
        return True


class PlannedBudget(Budget):
    """The budget of processes that must measure the same steps.

    Their clocks differ, so the clock decides nothing: every 16th step from the
    64th on is measured, and only the planned looks are taken.
    """

    is_limited = True
    _begins, _spacing = 64, 16
    _before = 0  # step that was asked about before

    def _allows_next(self, step: int) -> bool:
        before, self._before = self._before, step
        passed = step // self._spacing > before // self._spacing
        return passed and step >= self._begins

    def allows_look(self) -> bool:
        """Whether there is time for another look: for the planned ones only."""
        return False


class TimeBudget(Budget):
    """Limits the time for measuring to a share of the training time.

    Args:
        share: Largest share, such as 0.1.
        compiles: Whether the first step of a train function takes long because
            it is compiled.
        clock: Returns seconds.
        compiles_looks: Whether the first look takes long for the same reason.
    """

    is_limited = True

    def __init__(
        self,
        share: float,
        compiles: bool,
        clock: Callable[[], float] = time.perf_counter,
        compiles_looks: bool = False,
    ) -> None:
        super().__init__()
        self.share = share
        self.spent = 0.0
        self.may_measure_steps = not compiles
        self._clock = clock
        self._compiles = compiles
        self._compiles_looks = compiles_looks
        self._begin = clock()
        self._planned: int | None = None
        # Step and time of the second call of the train function, and of the
        # last.
        self._second: tuple[int, float] | None = None
        self._last = 0, 0.0
        self._look, self._looks = 0.0, 0
        # Whether the next measured step is compiled, and how long that took.
        self._is_compiled_next = compiles
        self._compiling: float | None = None
        self._trial: _Trial | None = None
        self._wait = 0

    def plan(self, steps: int | None, epochs: int) -> None:
        """Sets the length of the run, as far as it is known."""
        self._planned = None if steps is None else steps * max(epochs, 1)

    def begin_epoch(self) -> None:
        """Begins an epoch: validation may have followed the step before."""
        if self._of_epoch > 1 and self._trial is not None:
            self._trial.leave_out()
        super().begin_epoch()

    def go_on(self, is_compiled: bool) -> None:
        """Begins another `fit`."""
        super().go_on(is_compiled)
        if not is_compiled:
            self.may_measure_steps = not self._compiles
            self._is_compiled_next = self._compiles

    def _trained(self) -> float:
        """Time since the run began that was not spent on measuring."""
        return self._clock() - self._begin - self.spent

    def _allows_next(self, step: int) -> bool:
        now = self._trained()
        self._last = step, now
        if self._second is None and step > 0:
            self._second = self._last
        if not self.may_measure_steps:
            self.may_measure_steps = self._is_long_enough()
            if not self.may_measure_steps:
                return False
        if self._trial is None:
            self._trial = _Trial(_STEPS * self.share, self._planned)
        is_tried = self._trial.measures(now)
        if is_tried is not None:
            return is_tried
        self._wait = (self._wait + 1) % self._trial.spacing
        return self._wait == 0

    def end_measured_step(self, taken: int) -> None:
        """Counts the step that compiled the measured one as measuring.

        Called after each measured step.

        Args:
            taken: Steps taken since the run began, this one included.
        """
        if not self._is_compiled_next:
            return
        self._is_compiled_next = False
        before, then = self._last
        self._compiling = self._trained() - then
        self.spent += self._compiling
        if self._second is not None:  # as if there had been no such step
            first, compiled = self._second
            self._second = first + taken - before, compiled

    def _is_long_enough(self) -> bool:
        """Whether compiling the measured step takes little of the run."""
        if self._second is None or self._last == self._second:
            return False
        compiling = self._second[1]
        total = self._expected()
        if total is None:
            total = self._last[1] - compiling
            if total < _LONG_ENOUGH * compiling:
                return False
        else:
            total -= compiling
        # What is left is for the steps.
        allowed = (1.0 - _STEPS) * self.share * total
        again = max(_COMPILE_RATIO * compiling, self._compiling or 0.0)
        return self.spent + again <= allowed

    def _expected(self) -> float | None:
        """Expected training time in seconds; `None` if not known yet."""
        if self._planned is None or self._second is None:
            return None
        (first, compiled), (step, now) = self._second, self._last
        if step <= first:
            return None
        return compiled + (now - compiled) / (step - first) * self._planned

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Counts the time inside the with-block as spent."""
        begin = self._clock()
        try:
            yield
        finally:
            self.spent += self._clock() - begin

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Remembers how long a look takes; `spending` counts that time."""
        begin = self._clock()
        try:
            yield
        finally:
            self._look = self._clock() - begin
            self._looks += 1

    def allows_look(self) -> bool:
        """Whether there is time for another look."""
        taken = self.spent + self._look
        return taken <= _LOOKS * self.share * self._trained()

    def allows_first_look(self, layers: int) -> bool:
        """Whether a model may be looked at for the first time.

        A look that takes long to compile is allowed only once it takes little
        of the run: of its expected length, or of its time so far.

        Args:
            layers: Number of layers of the model.
        """
        if not self._compiles_looks or self._looks:
            return True
        if layers < _MANY_LAYERS:
            return True
        if self._second is None:
            return False
        total = self._expected()
        if total is None:  # at least as long as so far
            total = self._trained()
        takes = _LOOK_RATIO * self._second[1]
        return takes <= _FIRST_LOOKS * self.share * total

    def allows_planned_look(self, done: float) -> bool:
        """Whether there is time for one of the looks planned for each run.

        Args:
            done: Share of the run that is over.
        """
        is_second = self._compiles and self._looks < 2
        if is_second and self._compiles_looks:
            return True  # a compiled look says nothing about the next one
        total = self._expected()
        if total is None:
            # If it was compiled, the first step says little about the others.
            total = self._trained() / (1.0 if is_second else done)
        if self._look <= _CHEAP_LOOK * self.share * total:
            return True
        # There will also be one at the end.
        taken = self.spent + 2 * self._look
        allowed = _FIRST_LOOKS if is_second else _PLANNED_LOOKS
        return taken <= allowed * self.share * total


def budget_for(model: Any, share: float | None) -> Budget:
    """The budget of a run.

    Args:
        model: The compiled model that is trained.
        share: See `TimeBudget`; `None` for no limit.
    """
    if share is None:
        return Budget()
    if _backend.process_count(model) > 1:
        return PlannedBudget()
    compiles = not model.run_eagerly
    return TimeBudget(
        share,
        compiles and _backend.COMPILES,
        compiles_looks=compiles and _backend.COMPILES_FEW,
    )


class _Trial:
    """Measures half of the steps, to find out what measuring costs.

    Measured and plain steps are mixed, because the machine may be busy now and
    idle later. Their order is the Thue-Morse sequence: if they simply took
    turns, the first step of an epoch of two would always be of the same kind.

    Args:
        share: Share of the time of a plain step that measuring may add.
        planned: Steps of the run, if known.

    Attributes:
        spacing: Steps from one measured step to the next, after the trial.
    """

    def __init__(self, share: float, planned: int | None) -> None:
        self.spacing = 1
        self._share = share
        self._most, self._least = _MOST, _LEAST
        if planned is not None:
            few = max(int(_SHARE_OF_RUN * planned), _FEWEST)
            self._most, self._least = min(_MOST, few), min(_LEAST, few)
        self._begin: float | None = None
        self._number = 0
        self._is_measured = self._is_over = False
        # Seconds of steps that were not measured, and of those that were.
        self._seconds: tuple[list[float], list[float]] = [], []

    def leave_out(self) -> None:
        """Ignores how long the last step seems to have taken."""
        self._begin = None

    def measures(self, now: float) -> bool | None:
        """Whether to measure the step that begins; `None` once it is over."""
        if self._is_over:
            return None
        if self._begin is not None:
            self._seconds[self._is_measured].append(now - self._begin)
        self._begin = now
        if not self._is_measured and self._is_enough():
            self._is_over = True
            self.spacing = self._interval()
            return None
        self._is_measured = self._number.bit_count() % 2 == 0
        self._number += 1
        return self._is_measured

    def _is_enough(self) -> bool:
        taken = len(self._seconds[True])
        if taken < self._least:
            return False
        return taken >= self._most or sum(self._seconds[True]) > _LONG

    def _interval(self) -> int:
        plain, measured = (
            statistics.median(seconds[_FIRST:]) for seconds in self._seconds
        )
        if plain <= 0.0:  # a clock too coarse to tell
            return 1
        # Rounding errors must not turn an interval of one into two.
        cost = round(measured / plain - 1.0, 6)
        return max(1, math.ceil(cost / self._share))


@contextlib.contextmanager
def aside(budget: Budget) -> Iterator[None]:
    """Does work apart from the training run: takes time, changes nothing.

    Random state is restored, and no garbage is collected: a look creates and
    drops so many objects that it would trigger full collections, which take as
    long as the look itself.
    """
    was_enabled = gc.isenabled()
    with budget.spending(), _backend.kept_randomness():
        gc.disable()
        try:
            yield
        finally:
            if was_enabled:
                gc.enable()


class GatedSchedule(Schedule):
    """A schedule whose steps are measured only if the time budget allows it.

    A step that may not be measured is made up for at the next that may.

    Args:
        inner: Decides which steps to measure.
        budget: Decides which of those may be measured.
        at_step: Called before each step, with the number of steps taken.
        taken: Steps of the run taken before, in other calls of `fit`.
    """

    def __init__(
        self,
        inner: Schedule,
        budget: Budget,
        at_step: Callable[[int], None] | None = None,
        taken: int = 0,
    ) -> None:
        super().__init__(inner.every, inner.max_samples)
        self._inner = inner
        self._budget = budget
        self._at_step = at_step
        self._total = taken
        self._is_owed = False

    @property
    def takes_all(self) -> bool:
        """Whether every step is measured."""
        return not self._budget.is_limited and self._inner.takes_all

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch."""
        self._budget.begin_epoch()
        self._inner.begin_epoch(steps)

    def due(self, steps: int = 1) -> bool:
        """Whether to measure one of the next `steps` steps."""
        if self._at_step is not None:
            self._at_step(self._total)
        is_wanted = self._is_owed or self._inner.due(steps)
        is_allowed = self._budget.allows_step(self._total)
        self._is_owed = is_wanted and not is_allowed
        return is_wanted and is_allowed

    def advance(self, steps: int, measured: bool) -> None:
        """Counts `steps` steps that were taken together."""
        self._total += steps
        if measured:
            self._budget.end_measured_step(self._total)
        self._inner.advance(steps, measured)


def checks_of_an_epoch(epoch: int, planned: int) -> bool:
    """Whether to look at a run after an epoch.

    True after the first epoch and the last; in a run of ten epochs or more also
    after a tenth, a fifth and half of them.

    Args:
        epoch: From 1.
        planned: Epochs of the run.
    """
    shares = (0.1, 0.2, 0.5) if planned >= 10 else ()
    between = {math.ceil(share * planned) for share in shares}
    return epoch in {1, planned} | between
