"""The train function of a model whose steps are observed."""

import contextlib
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from keras_concepts import _backend
from keras_concepts.instruments.step.callback_lists import callbacks_of_fit
from keras_concepts.instruments.step.capture_updates import capture_updates
from keras_concepts.instruments.step.end_of_fit import EndOfFit
from keras_concepts.instruments.step.execution_count import ExecutionCount
from keras_concepts.instruments.step.step_observer import StepObserver
from keras_concepts.instruments.step.step_record import StepRecord
from keras_concepts.instruments.step.unseen_update import (
    batch_size,
    unseen_update,
)

# Untraced steps before a loop is reported to use no optimizer.
_ENOUGH_STEPS = 16
_NO_OPTIMIZER = (
    "used no Keras optimizer that can be watched. Losses, penalties and weight "
    "changes are measured, gradients are not. In a custom training loop, "
    "`keras_concepts.instruments.GradientTap` measures the gradients of any "
    "Keras optimizer, and on PyTorch of any `torch.optim` optimizer"
)
_HIDDEN_OPTIMIZER = (
    "uses an optimizer inside a conditional or its own compiled function, "
    "where gradients cannot be read. Weight changes are measured, these "
    "gradients are not. To measure them, call the optimizer directly in "
    "`train_step`"
)
_HIDDEN_VALUES = (
    "calls layers inside a conditional or its own compiled function "
    "(`tf.function`, `jax.jit`, `keras.remat`). Their batch statistics and "
    "added losses are not measured"
)


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
        # Whether all updates of the last measured step were seen.
        self._sees_updates = False
        self._most_uses = 0
        self._idle_steps = 0
        self._hidden: set[str] = set()
        self._said: set[str] = set()
        self._make_observed = _backend.observed_train_functions(model)
        self._observed: Callable[..., Any] | None = None
        self._switches: Any = None

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
        function._observed = None
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
                if function._idle_steps and not function._most_uses:
                    function._say(_NO_OPTIMIZER, observer)

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
        if self._observed is None:
            self._observed = self._made()
        if self._switches is not None:
            self._switches.set([o in due for o in self._observers])
        return self._observed(*args)

    def _made(self) -> Callable[..., Any]:
        schedules = {str(observer.schedule) for observer in self._observers}
        self._switches = None
        if len(schedules) > 1:
            self._switches = _backend.Switches(len(self._observers))
        # Our own would end the observation.
        attributes = vars(self._model)
        hidden = attributes.pop("make_train_function")
        try:
            return self._make_observed(self._observe, self._buffers())
        finally:
            attributes["make_train_function"] = hidden

    def _buffers(self) -> Iterator[Any]:
        # Not created before a backend asks for them.
        for observer in self._observers:
            yield observer.tap.buffer
        if self._switches is not None:
            yield self._switches

    def _say(self, what: str, *observers: StepObserver[Any]) -> None:
        if what in self._said or (what != _HIDDEN_VALUES and self._said):
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

    @contextlib.contextmanager
    def _observe(
        self,
        batch: Any,
        trained: list[Any] | None,
        untrained: Any,
    ) -> Iterator[list[Any]]:
        model = self._model
        variables, after = list(model.trainable_variables), []
        if trained is None and not self._sees_updates:
            trained = [_backend.snapshot(variable) for variable in variables]
        step = StepRecord(
            model=model,
            loss_tracker=next(
                (m for m in model.metrics if m.name == "loss"), None
            ),
            batch=batch,
            untrained=untrained,
            copies_gradients=self._most_uses != 1,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(capture_updates(step))
            captured = [
                stack.enter_context(observer.tap.capture(step))
                for observer in self._observers
            ]
            yield after
        self._note(step)
        if not self._sees_updates:
            # They were not kept if the previous step had an optimizer. This one
            # has none: gradients may be accumulated by hand.
            before = trained or [_backend.snapshot(v) for v in variables]
            step.updates.append(unseen_update(step, variables, before, after))
        if step.loss is None:
            step.batch_size = batch_size(batch)
        if step.update.variables:
            self._record(step, captured)

    def _record(self, step: StepRecord, captured: list[Any]) -> None:
        flags: list[Any] = [True] * len(captured)
        if self._switches is not None:
            flags = self._switches.values()
            _ = step.isolated  # here: no tensor leaves a conditional
        for observer, its, flag in zip(
            self._observers, captured, flags, strict=True
        ):
            record = functools.partial(observer.tap.record, step, its)
            if self._switches is None or observer.schedule.takes_all:
                record()
            else:
                _backend.when(flag, record, observer.tap.buffer)

    def _note(self, step: StepRecord) -> None:
        hidden = step.has_hidden_updates
        self._most_uses = max(self._most_uses, len(step.updates))
        for update in step.updates:
            update.drop_overwritten()
        self._sees_updates = bool(step.updates) and not hidden
        if hidden:
            self._hidden.add(_HIDDEN_OPTIMIZER)
        elif not step.updates:
            self._idle_steps += 1
            # A single step is not judged, since gradients may be accumulated.
            waits = step.trace is None and self._idle_steps < _ENOUGH_STEPS
            if self._most_uses == 0 and not waits:
                self._hidden.add(_NO_OPTIMIZER)
        if step.has_hidden_values:
            self._hidden.add(_HIDDEN_VALUES)

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
            self._observed = None
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
