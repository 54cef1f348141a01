"""Standing in for a model's train function while somebody watches its steps."""

import contextlib
import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts.instruments.gradient_tap import GradientSamples, GradientTap
from keras_concepts.instruments.listening import Heard, listen
from keras_concepts.instruments.schedule import Schedule


class StepObserver:
    """Taps the steps of one `fit` that its schedule asks for.

    Args:
        model: A compiled model.
        schedule: Which steps to measure.
        capacity: Steps to hold on the device; when they are full, or the epoch
            ends, the host reads them.
        first_step: Number of the first step.
    """

    def __init__(
        self,
        model: Any,
        schedule: Schedule,
        capacity: int,
        first_step: int = 0,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.capacity = max(capacity, model.steps_per_execution)
        self.tap: GradientTap | None = None
        # A model without an input shape is built by its first step. (On JAX
        # and torch `fit` has built every model by now.)
        if model.built:
            _ = self._make_tap(model.trainable_variables)
        self._pending: list[int] = []
        self._read: list[GradientSamples] = []
        self._step = first_step
        self._epoch_start = first_step
        self._epoch_steps: int | None = None

    def _make_tap(self, variables: list[Any]) -> GradientTap:
        self.tap = GradientTap(
            self.model.optimizer, variables, capacity=self.capacity
        )
        return self.tap

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
        tap = self.tap or self._make_tap(heard.variables)
        tap.record(heard)

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

    def _drain(self) -> None:
        if self.tap is not None:
            self._read.append(self.tap.read(self._pending))
        self._pending = []

    def read(self) -> GradientSamples | None:
        """Everything measured since the last call."""
        self._drain()
        samples, self._read = self._read, []
        return _joined(samples) if samples else None


class ObservedTrainFunction:
    """Is `model.train_function` while observers are attached.

    A step that no observer wants runs the model's own train function, so that
    it costs nothing. The optimizer is shadowed only inside a measured step (or
    while one is traced). What does stay on the model is this object and a
    `make_train_function` that takes it off again. Both go when the last
    observer is detached, when a step raises, when the `fit` that raised is
    left, and at the latest when the next `fit` begins, which is with a call of
    `make_train_function`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._original = model.train_function
        self._observers: list[StepObserver] = []
        self._functions: dict[tuple[int, ...], Callable[..., Any]] = {}

    @classmethod
    def attach(cls, model: Any, observer: StepObserver) -> None:
        """Lets `observer` see the steps of the running `fit`."""
        function = model.train_function
        if not isinstance(function, cls):
            function = cls(model)
            _when_fit_is_left(function._restore)
        function._observers.append(observer)
        function._build()
        function._install()

    @classmethod
    def detach(cls, model: Any, observer: StepObserver) -> None:
        """Takes `observer` off, and the last one takes all traces with it."""
        function = model.train_function
        if isinstance(function, cls) and observer in function._observers:
            function._observers.remove(observer)
            if not function._observers:
                function._restore()

    def __call__(self, *args: Any) -> Any:
        steps = self._model.steps_per_execution
        due = [o for o in self._observers if o.schedule.due(steps)]
        for observer in due:
            observer.make_room(steps)
        function = self._functions[tuple(map(id, due))]
        try:
            result = function(*args)
        except _backend.END_OF_DATA:
            raise
        except BaseException:
            self._restore()
            raise
        for observer in self._observers:
            observer.advance(steps, measured=observer in due)
        return result

    def _build(self) -> None:
        """Makes a train function for each group of observers to be due.

        They are traced when they are first called. But they are made here,
        before the first step: on JAX the model has no values during an epoch.
        """
        self._restore()
        self._functions = {(): self._original}
        for size in range(1, len(self._observers) + 1):
            for due in itertools.combinations(self._observers, size):
                self._functions[tuple(map(id, due))] = (
                    _backend.observed_train_function(
                        self._model,
                        functools.partial(self._observe, due),
                        [o.tap.buffer for o in due if o.tap is not None],
                    )
                )

    @contextlib.contextmanager
    def _observe(self, due: Sequence[StepObserver]) -> Iterator[None]:
        model = self._model
        with listen(
            model.optimizer,
            model.trainable_variables,
            loss_tracker=next(
                (m for m in model.metrics if m.name == "loss"), None
            ),
        ) as heard:
            yield
        if heard.variables:
            for observer in due:
                observer.record(heard)

    def _start_anew(self, force: bool = False) -> Any:
        self._restore()
        return self._model.make_train_function(force=force)

    def _install(self) -> None:
        attributes = vars(self._model)
        attributes["train_function"] = self
        attributes["make_train_function"] = self._start_anew

    def _restore(self) -> None:
        attributes = vars(self._model)
        if attributes.get("train_function") is self:
            attributes["train_function"] = self._original
        attributes.pop("make_train_function", None)


def _when_fit_is_left(restore: Callable[[], None]) -> None:
    """Calls `restore` once the running `fit` has returned or raised.

    Keras tells no callback of an exception. But the list that `fit` calls them
    through lives as long as `fit` does, and is among our callers.
    """
    frame = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList):
            weakref.finalize(caller, restore).atexit = False
            return
        frame = frame.f_back


def _joined(samples: list[GradientSamples]) -> GradientSamples:
    first = samples[0]
    return GradientSamples(
        paths=first.paths,
        sizes=first.sizes,
        steps=np.concatenate([s.steps for s in samples]),
        loss=np.concatenate([s.loss for s in samples]),
        applied=np.concatenate([s.applied for s in samples]),
        values=np.concatenate([s.values for s in samples]),
        unit_peaks={
            layer: np.max([s.unit_peaks[layer] for s in samples], axis=0)
            for layer in first.unit_peaks
        },
    )
