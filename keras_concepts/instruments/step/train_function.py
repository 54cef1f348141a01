"""The train function of a model whose steps are observed."""

import contextlib
import functools
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts.instruments.step.capture_updates import capture_updates
from keras_concepts.instruments.step.step_observer import StepObserver
from keras_concepts.instruments.step.step_record import StepRecord

# Where all schedules coincide, some steps are measured and the others are not.
_USUAL = 2


class ObservedTrainFunction:
    """Is `model.train_function` while observers are attached.

    For each set of observers that are due in the same step there is a train
    function, made and compiled when the first such step comes. A step in which
    no observer is due runs the model's own, and costs nothing.

    The optimizer is shadowed only inside a measured step (or while one is
    traced). What does stay on the model is this object and a
    `make_train_function` that takes it off again. Both go when the last
    observer is detached, when a step raises, when the `fit` that raised is
    left, and at the latest when the next `fit` begins, which is with a call of
    `make_train_function`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._original = model.train_function
        self._observers: list[StepObserver[Any]] = []
        self._make_observed = _backend.observed_train_functions(model)
        self._functions: dict[
            tuple[StepObserver[Any], ...], Callable[..., Any]
        ] = {}

    @classmethod
    def attach(cls, model: Any, observer: StepObserver[Any]) -> None:
        """Lets `observer` see the steps of the running `fit`."""
        function = model.train_function
        if not isinstance(function, cls):
            function = cls(model)
            _when_fit_is_left(function._restore)
        function._observers.append(observer)
        function._install()

    @classmethod
    def detach(cls, model: Any, observer: StepObserver[Any]) -> None:
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
        restore = None
        if any(observer.can_reject for observer in due):
            restore = _backend.backup(self._model, args)
        try:
            result = self._function_for(tuple(due))(*args)
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

    def _function_for(
        self, due: tuple[StepObserver[Any], ...]
    ) -> Callable[..., Any]:
        if due not in self._functions:
            self._functions[due] = self._made(due) if due else self._original
            if len(self._functions) == _USUAL + 1:
                self._warn()
        return self._functions[due]

    def _made(self, due: tuple[StepObserver[Any], ...]) -> Callable[..., Any]:
        # Ours would end the observation.
        attributes = vars(self._model)
        hidden = attributes.pop("make_train_function")
        try:
            return self._make_observed(
                functools.partial(self._observe, due),
                # Not made before a backend asks for them.
                (observer.tap.buffer for observer in due),
            )
        finally:
            attributes["make_train_function"] = hidden

    def _warn(self) -> None:
        thinned = [
            f"{observer.name} ({observer.schedule})"
            for observer in self._observers
            if not observer.schedule.takes_all
        ]
        warnings.warn(
            f"The monitors of this `fit` measure different steps: "
            f"{', '.join(thinned)}. A train function is compiled for each "
            f"combination of them that occurs, and this is number "
            f"{len(self._functions)}. Monitors with equal `every` and "
            "`max_samples` share one.",
            UserWarning,
            stacklevel=2,
        )

    @contextlib.contextmanager
    def _observe(
        self, due: Sequence[StepObserver[Any]], batch: Any, untrained: Any
    ) -> Iterator[None]:
        model = self._model
        step = StepRecord(
            model=model,
            loss_tracker=next(
                (m for m in model.metrics if m.name == "loss"), None
            ),
            batch=batch,
            untrained=untrained,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                capture_updates(
                    model.optimizer, step, model.trainable_variables
                )
            )
            captured = [
                stack.enter_context(observer.tap.capture(step))
                for observer in due
            ]
            yield
        if step.variables:
            for observer, its in zip(due, captured, strict=True):
                observer.tap.record(step, its)

    def _make_unobserved(self, force: bool = False) -> Any:
        self._restore()
        return self._model.make_train_function(force=force)

    def _install(self) -> None:
        attributes = vars(self._model)
        attributes["train_function"] = self
        attributes["make_train_function"] = self._make_unobserved

    def _restore(self) -> None:
        attributes = vars(self._model)
        if attributes.get("train_function") is self:
            attributes["train_function"] = self._original
        # Each access makes another bound method: equal, not the same.
        if attributes.get("make_train_function") == self._make_unobserved:
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
