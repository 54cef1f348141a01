"""The monitors that measure for the doctor, inside the steps."""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from keras_concepts import _backend
from keras_concepts.callbacks._careful import Careful
from keras_concepts.callbacks._monitor import SampledMonitor, StepMonitor
from keras_concepts.callbacks._run_log import RunLog
from keras_concepts.callbacks.batch_norm_shift_monitor import (
    BatchNormShiftMonitor,
)
from keras_concepts.callbacks.gradient_monitor import GradientMonitor
from keras_concepts.callbacks.non_finite_guard import NonFiniteGuard
from keras_concepts.callbacks.penalty_reporter import PenaltyReporter
from keras_concepts.instruments.batch_norm.capture_batches import (
    batch_norm_layers,
)
from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.instruments.step.step_observer import StepObserver

Earlier: TypeAlias = dict[type[StepMonitor], StepObserver[Any]]


def monitors_for(
    model: Any, every: int, non_finite: Callable[[str], Any]
) -> Iterator[StepMonitor]:
    """The monitors that are useful for a model.

    Args:
        model: The model in `fit`.
        every: Measure at most every n-th step of an epoch.
        non_finite: Called when a value is not finite.
    """
    yield GradientMonitor(every=every)
    yield NonFiniteGuard(stop=False, sink=non_finite)
    layers = _backend.flatten_layers(model)
    if any(v.regularizer is not None for v in model.trainable_variables):
        yield PenaltyReporter(every=every, max_samples=32)
    if batch_norm_layers(layers):
        yield BatchNormShiftMonitor()


class DrivenMonitors:
    """Monitors of one `fit`, whose methods another monitor calls.

    They write to that monitor's recording. A monitor that fails costs its
    measurements, not the run.

    Args:
        owner: Class of the monitor that drives them, as named in warnings.
        careful: Guards what may fail.
    """

    def __init__(self, owner: str, careful: Careful) -> None:
        self._owner = owner
        self._careful = careful
        self._monitors: list[StepMonitor] = []
        # By class of the monitor: what it measured the last `fit` with.
        self._earlier: Earlier = {}
        self._epoch = 0  # as Keras numbers it

    def begin(
        self,
        monitor: StepMonitor,
        model: Any,
        params: dict[str, Any],
        log: RunLog | None,
        gated: Callable[[StepMonitor, Schedule], Schedule],
    ) -> None:
        """Adds a monitor, unless it cannot measure this model.

        Args:
            monitor: A new monitor.
            model: The model in `fit`.
            params: What Keras passes to the callbacks of the `fit`.
            log: The log to record into.
            gated: Returns the schedule that replaces the monitor's own.
        """
        name = f"`{type(monitor).__name__}`"

        def missing(what: str) -> None:
            # The user did not attach this monitor, so its name means little.
            self._careful.note(what.replace(name, f"`{self._owner}`"))

        monitor.record_into(log, missing)
        monitor.set_model(model)
        monitor.set_params(params)
        monitor.take_back(self._earlier.pop(type(monitor), None))
        try:
            monitor.on_train_begin()
        except Exception as error:  # said in `unchecked`; `fit` goes on
            monitor.on_train_end()
            missing(str(error))
            return
        self._monitors.append(monitor)
        monitor.gate(lambda inner: gated(monitor, inner))

    @property
    def names(self) -> list[str]:
        """Names under which they record."""
        return [each.recording.monitor for each in self._monitors]

    @property
    def step(self) -> int | None:
        """Steps taken so far, over all runs of the recording, if known."""
        for monitor in self._monitors:
            return monitor.recording.next_step + monitor.steps
        return None

    def begin_epoch(self, epoch: int) -> None:
        """Lets them observe the steps of an epoch.

        Args:
            epoch: As Keras numbers it.
        """
        self._epoch = epoch
        for monitor in self._monitors:
            monitor.on_epoch_begin(epoch)

    def record(self) -> None:
        """Records what they have measured so far in an epoch."""
        for monitor in self._monitors:
            with self._careful("look inside the epoch"):
                if isinstance(monitor, SampledMonitor):
                    _ = monitor.record_steps(self._epoch)
                elif isinstance(monitor, NonFiniteGuard):
                    monitor.look()

    def end_epoch(self, epoch: int) -> None:
        """Records what they have measured since, at the end of an epoch.

        Args:
            epoch: As Keras numbers it.
        """
        for monitor in self._monitors:
            with self._careful(f"use `{type(monitor).__name__}`"):
                monitor.on_epoch_end(epoch, {})

    def end(self) -> None:
        """Lets go of all of them."""
        monitors, self._monitors = self._monitors, []
        for monitor in monitors:
            with self._careful(f"end `{type(monitor).__name__}`"):
                monitor.on_train_end()
                earlier = monitor.let_go()
                if earlier is not None:
                    self._earlier[type(monitor)] = earlier

    def let_go(self) -> Earlier:
        """Gives up what the next `fit` may measure with; it holds the model."""
        earlier, self._earlier = self._earlier, {}
        return earlier

    def take_back(self, earlier: Earlier) -> None:
        """Takes that back, before the monitors begin."""
        self._earlier = earlier

    def have_compiled_for(self, model: Any) -> bool:
        """Whether the next `fit` of a model need not compile what measures."""
        return any(
            each.measured is not None and each.measured.serves(model)
            for each in self._earlier.values()
        )
