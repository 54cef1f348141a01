"""The train function of a model whose steps are observed."""

import sys
import warnings
from typing import Any

from keras_concepts import _backend
from keras_concepts.instruments.step.callback_lists import callbacks_of_fit
from keras_concepts.instruments.step.end_of_fit import EndOfFit
from keras_concepts.instruments.step.execution_count import ExecutionCount
from keras_concepts.instruments.step.measured_step import (
    HIDDEN_VALUES,
    NO_OPTIMIZER,
    MeasuredStep,
)
from keras_concepts.instruments.step.step_observer import StepObserver


class ObservedTrainFunction:
    """Is `model.train_function` while observers are attached.

    Besides the model's own train function there is a second one, created and
    compiled at the first step in which an observer is due. If observers are due
    in different steps, each measures only if its switch is on. A step in which
    no observer is due runs the model's own function, at no cost.

    The optimizer is shadowed only inside a measured step (or while one is
    traced). Only this object and a `make_train_function` that removes it stay
    on the model, and only while the steps of an epoch run. Both are removed at
    the end of the steps, when the last observer is detached, when `EndOfFit`
    notices an exception in `fit`, and at the latest when the next `fit` begins,
    by calling `make_train_function`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._original = model.train_function
        self._fit: EndOfFit | None = None
        self._rests = False  # between two epochs, or in a `fit` inside
        self._observers: list[StepObserver[Any]] = []
        self._count = ExecutionCount(model)
        self._steps = 0  # of the epoch
        self._said: set[str] = set()
        self._make_observed = _backend.observed_train_functions(model)
        self._measured: MeasuredStep | None = None

    @classmethod
    def attach(cls, model: Any, observer: StepObserver[Any]) -> None:
        """Lets `observer` see the steps of the new epoch."""
        known = observer.attached_to
        if isinstance(known, cls):
            if known._resumes():
                known._begin_epoch()
                return
            observer.renew_tap()  # another `fit` of the model has run
        function = model.train_function
        if not isinstance(function, cls):
            function = cls(model)
            callbacks = callbacks_of_fit()
            if callbacks is not None:
                function._fit = EndOfFit.of(callbacks)
                function._fit.watch(model)
                function._fit.then(function._restore)
        function._observers.append(observer)
        function._measured = None
        function._install()
        function._begin_epoch()
        observer.attached_to = function

    @classmethod
    def detach(cls, observer: StepObserver[Any]) -> None:
        """Removes `observer`; the last one removes all traces."""
        function, observer.attached_to = observer.attached_to, None
        if isinstance(function, cls) and observer in function._observers:
            function._observers.remove(observer)
            if not function._observers:
                function._restore()
                measured = function._measured
                if measured is not None and measured.uses_no_optimizer:
                    function._say(NO_OPTIMIZER, observer)

    @classmethod
    def is_attached(cls, observer: StepObserver[Any]) -> bool:
        """Whether `observer` has seen the steps of the epoch so far."""
        function = observer.attached_to
        return isinstance(function, cls) and (
            function._rests
            or vars(function._model).get("train_function") is function
        )

    def _resumes(self) -> bool:
        """Whether it is installed for another epoch."""
        function = self._model.train_function
        if function is self:
            return True
        if not self._rests:
            return False
        if isinstance(function, ObservedTrainFunction):  # from an aborted `fit`
            function._restore()
        self._follow(self._model.train_function)
        self._install()
        return True

    def __call__(self, *args: Any) -> Any:
        if _name_of_caller() == "train_on_batch":  # not a step of `fit`
            self._count.lose()
            return self._original(*args)
        try:
            return self._step(args)
        except _backend.END_OF_DATA:
            raise
        except BaseException:
            self._restore()
            if self._fit is not None:
                self._fit.end()
            raise

    def _step(self, args: tuple[Any, ...]) -> Any:
        steps = self._model.steps_per_execution
        due = [o for o in self._observers if o.schedule.due(steps)]
        for observer in due:
            observer.make_room(steps)
        restore = None
        if any(observer.can_reject for observer in due):
            restore = _backend.backup(self._model, args)
        result = self._run(due, args)
        for observer in self._observers:
            observer.advance(steps, measured=observer in due)
        self._steps += steps
        for what in self._hidden:
            self._say(what, *self._observers)
        if restore is not None and any(o.rejects for o in due):
            self._count.lose()  # what it counted is undone as well
            result = restore(result)
        return result

    def _run(self, due: list[StepObserver[Any]], args: Any) -> Any:
        if not due:
            return self._original(*args)
        if self._measured is None:
            self._measured = self._made()
        return self._measured([o in due for o in self._observers], args)

    def _made(self) -> MeasuredStep:
        observers = self._observers
        schedules = {str(observer.schedule) for observer in observers}
        made_of = (
            self._original,
            [observer.schedule.takes_all for observer in observers],
            len(schedules) > 1,
        )
        # That of an earlier `fit`, if nothing has changed since.
        measured = observers[0].measured
        kept = [observer.kept_tap or observer.tap for observer in observers]
        if measured is not None and measured.was_made_of(kept, *made_of):
            for observer in observers:
                observer.use_kept_tap()
            return measured
        taps = [observer.tap for observer in observers]
        measured = MeasuredStep(self._model, taps, *made_of)
        # Our own would end the observation.
        attributes = vars(self._model)
        hidden = attributes.pop("make_train_function")
        try:
            measured.make(self._make_observed)
        finally:
            attributes["make_train_function"] = hidden
        for observer in observers:
            observer.measured, observer.kept_tap = measured, None
        return measured

    @property
    def _hidden(self) -> set[str]:
        """What the measured step cannot see."""
        return set() if self._measured is None else self._measured.hidden

    def _say(self, what: str, *observers: StepObserver[Any]) -> None:
        if what in self._said or (what != HIDDEN_VALUES and self._said):
            return
        self._said.add(what)
        text = f"The `train_step` of model {self._model.name!r} {what}."
        for listener in {o.listener for o in observers if o.listener}:
            listener(text)
        named = [f"`{o.name}`" for o in observers if o.listener is None]
        if named:
            warnings.warn(
                f"{text} Attached: {', '.join(named)}.",
                UserWarning,
                stacklevel=4,
            )

    def _make_train_function(self, force: bool = False) -> Any:
        """Replaces that of the model."""
        caller = _name_of_caller()
        self._count.lose()
        self._restore()
        function = self._model.make_train_function(force=force)
        if caller == "fit":  # a `fit` that begins is observed by its own
            self._rests = self._fit is not None
            if self._fit is not None:
                self._fit.once_it_goes_on(self._resumes)
            return function
        # A callback of the running `fit` has compiled the model again, or
        # trains on a batch of its own.
        self._follow(self._model.train_function)
        self._install()
        return self

    def _follow(self, function: Any) -> None:
        """Replaces another function, if the model was compiled again."""
        if function is not self._original:
            self._original = function
            self._make_observed = _backend.observed_train_functions(self._model)
            self._measured = None
            for observer in self._observers:
                observer.renew_tap()

    def _rest(self, *args: Any) -> Any:
        """Called by `fit` after the steps of an epoch."""
        name, model = _backend.AFTER_STEPS, self._model
        if _name_of_caller() == "fit":
            self._rests = vars(model).get("train_function") is self
            self._restore()
            self._end_steps()
            return getattr(model, name)(*args)
        return getattr(type(model), name)(model, *args)

    def _begin_epoch(self) -> None:
        self._steps = 0
        self._count.begin_epoch()

    def _end_steps(self) -> None:
        """Corrects the count, if the last execution was cut short."""
        taken = self._count.taken(self._steps)
        self._count.lose()
        if taken is not None and not self._hidden:
            for observer in self._observers:
                observer.correct(taken)

    def _install(self) -> None:
        self._rests = False
        attributes = vars(self._model)
        attributes["train_function"] = self
        attributes["make_train_function"] = self._make_train_function
        if hasattr(type(self._model), _backend.AFTER_STEPS):
            attributes[_backend.AFTER_STEPS] = self._rest

    def _restore(self) -> None:
        attributes = vars(self._model)
        if attributes.get("train_function") is self:
            attributes["train_function"] = self._original
        # Each access creates a new bound method: equal, but not the same.
        for name, own in (
            ("make_train_function", self._make_train_function),
            (_backend.AFTER_STEPS, self._rest),
        ):
            if attributes.get(name) == own:
                del attributes[name]


def _name_of_caller() -> str:
    return sys._getframe(2).f_code.co_name
