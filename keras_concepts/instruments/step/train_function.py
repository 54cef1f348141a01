"""Standing in for a model's train function while somebody watches its steps."""

import contextlib
import functools
import itertools
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts.instruments.batch_norm.batch_norm_tap import (
    hear_batch_norms,
)
from keras_concepts.instruments.penalties.loss_parts import hear_loss_parts
from keras_concepts.instruments.step.capture_updates import listen
from keras_concepts.instruments.step.step_observer import StepObserver


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
        restore = None
        if any(observer.can_reject for observer in due):
            restore = _backend.backup(self._model, args)
        try:
            result = function(*args)
        except _backend.END_OF_DATA:
            raise
        except BaseException:
            self._restore()
            raise
        for observer in self._observers:
            observer.advance(steps, measured=observer in due)
        if restore is not None and any(o.rejects for o in due):
            result = restore(result)
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
                        # Not made before a backend asks for them.
                        (o.tap.buffer for o in due if o.tap is not None),
                    )
                )

    @contextlib.contextmanager
    def _observe(
        self, due: Sequence[StepObserver], batch: Any, others: Any
    ) -> Iterator[None]:
        model = self._model
        if others is None and any(
            "batch" in observer.hears for observer in due
        ):
            others = [
                (variable, _backend.snapshot(variable))
                for variable in _backend.changing_variables(model)
            ]
        tracker = next((m for m in model.metrics if m.name == "loss"), None)
        with contextlib.ExitStack() as stack:
            heard = stack.enter_context(
                listen(model.optimizer, model.trainable_variables, tracker)
            )
            if any("parts" in observer.hears for observer in due):
                stack.enter_context(
                    hear_loss_parts(model, tracker, heard.parts)
                )
            if any("batch_norms" in observer.hears for observer in due):
                stack.enter_context(
                    hear_batch_norms(model, tracker, heard.batch_norms)
                )
            yield
        heard.batch, heard.others = batch, others
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
        # Bound methods are made anew each time: equal, not the same.
        if attributes.get("make_train_function") == self._start_anew:
            del attributes["make_train_function"]


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
