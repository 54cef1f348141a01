"""What every callback that keeps a recording does."""

import copy
import functools
import os
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import keras

from keras_concepts._validation import check_positive_int, checked_path
from keras_concepts.callbacks._callback_list import (
    is_in_an_outer_fit,
    put_in_order,
)
from keras_concepts.callbacks._run_log import RunLog, end_run, run_identity
from keras_concepts.instruments.step.callback_lists import callbacks_of_fit
from keras_concepts.instruments.step.end_of_fit import EndOfFit
from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.instruments.step.step_observer import StepObserver
from keras_concepts.instruments.step.tap import Tap
from keras_concepts.instruments.step.train_function import ObservedTrainFunction
from keras_concepts.quantities import MISSED_BY, concept_of
from keras_concepts.recording import Recording


class Monitor(keras.callbacks.Callback):
    """Keeps a recording of a training run, and shows it.

    A subclass has its concept in `quantities.CONCEPTS`, and its table and
    figure in the part of `reports` with that name.

    Args:
        record_to: File for the recording.

    Attributes:
        recording: What was measured in the last `fit`.
    """

    # Keys that it adds to the logs of an epoch.
    log_keys: tuple[str, ...] = ()
    # Whether it reads the logs of the run in its recording.
    _keeps_logs = False
    # State of a `fit`, with the values it has in a copy, which is in no `fit`.
    _of_fit: ClassVar[dict[str, Any]] = {
        "_model": None,
        "_log": None,
        "_shared": None,
        "_listener": None,
    }

    def __init__(
        self, *, record_to: str | os.PathLike[str] | None = None
    ) -> None:
        super().__init__()
        self.record_to = checked_path(
            type(self).__name__, "record_to", record_to
        )
        self.recording = Recording()
        self._log: RunLog | None = None
        self._shared: RunLog | None = None
        self._listener: Callable[[str], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """What is copied or pickled: the arguments and the measurements.

        A running `fit`, its model and its file are left out.
        """
        state = dict(vars(self))
        for base in type(self).__mro__:
            state |= copy.deepcopy(vars(base).get("_of_fit", {}))
        return state | {"recording": self.recording.in_memory()}

    def record_into(
        self, log: RunLog | None, listener: Callable[[str], Any]
    ) -> None:
        """Lets the next `fit` be recorded along with another monitor's records.

        Args:
            log: Log of that monitor, which calls the methods of this one.
            listener: Called with the text of each warning instead.
        """
        self._shared = log
        self._listener = listener

    def _warn_that(self, what: str) -> None:
        """Reports what the monitor cannot do; the text begins with its name."""
        text = f"`{type(self).__name__}` {what}"
        if self._listener is not None:
            self._listener(text)
            return
        if self._log is not None and not self._log.has_ended:
            key = MISSED_BY + self.recording.monitor
            known = self.recording.facts.get(key, [])
            if text not in known:
                self.recording.record_facts({key: [*known, text]})
        warnings.warn(text, UserWarning, stacklevel=3)

    def summary(
        self, console: Any = None, *, max_rows: int | None = 40
    ) -> None:
        """Prints what was recorded as a table.

        Args:
            console: `rich.console.Console` to print to.
            max_rows: Largest number of rows, at least 1; the worst are shown,
                and a note says how many are left out. `None` prints all.
        """
        from keras_concepts.reports.report import print_missed

        self._report().print(self.recording, console, max_rows=max_rows)
        print_missed(self.recording, self.recording.monitor, console)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws what was recorded.

        Needs the extra `keras-concepts[plot]`. A notebook shows the figure at
        the end of the cell; a script shows it with `matplotlib.pyplot.show()`.

        Args:
            path: Image file to write, instead of showing the figure.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return self._report().plot(self.recording, path)

    def report(
        self, path: str | os.PathLike[str], *, title: str | None = None
    ) -> None:
        """Writes what was recorded, and what is wrong, as one HTML file.

        Needs the extra `keras-concepts[report]`. The file is self-contained: it
        uses neither the network nor scripts.

        Args:
            path: File to write, replaced atomically.
            title: Title of the page; by default the name of the model.

        Raises:
            ImportError: jinja2 or matplotlib is not installed.
        """
        self._write_report(path, title=title)

    def _write_report(
        self, path: str | os.PathLike[str], **options: Any
    ) -> None:
        from keras_concepts.reports import write_report

        write_report(self.recording, path, **options)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table, and the figure below it."""
        return self._report().html(self.recording)

    @classmethod
    def _recorded_name(cls) -> str:
        """Name of the monitor in rows; a subclass by a user keeps it."""
        names = [base.__name__ for base in cls.__mro__]
        return next((n for n in names if concept_of(n)), cls.__name__)

    def _report(self) -> Any:
        from keras_concepts.reports import report_of

        return report_of(self._recorded_name())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._shared is not None:  # its owner goes on recording
            return
        end_run(self.model)
        if self._log is not None:
            self._log.end()

    def _is_listed_again(self) -> bool:
        """Whether `fit` has already begun for it: the list has it twice."""
        if self._log is None or self._log.begun:
            return False
        return self._log.identity == run_identity(self.model, self.params)

    def _open_log(self, model: Any) -> RunLog:
        if self._shared is not None:
            log = RunLog(
                self._recorded_name(), None, model, self.params, self._shared
            )
            log.begin()
            self.recording = log.recording
            return log
        callbacks = callbacks_of_fit()
        if callbacks is not None:
            put_in_order(callbacks, self)
        if is_in_an_outer_fit(self):
            warnings.warn(
                f"`{type(self).__name__}` is used by a `fit` inside a `fit` "
                "that it was recording, and will not see the rest of the outer "
                "one. Pass another monitor to the inner `fit`.",
                UserWarning,
                stacklevel=2,
            )
        self.recording.close()
        try:
            log = RunLog(
                self._recorded_name(),
                self.record_to,
                model,
                self.params,
                keeps_logs=self._keeps_logs,
            )
        except (OSError, ValueError) as error:
            raise type(error)(
                f"`record_to` of `{type(self).__name__}` must be a file that "
                "can be written: a new one, or a recording to continue. "
                f"Received: record_to={str(self.record_to)!r} ({error})."
            ) from error
        if callbacks is not None:
            EndOfFit.of(callbacks).then(functools.partial(self._break_off, log))
        log.begin()
        self.recording = log.recording
        return log

    def _break_off(self, log: RunLog) -> None:
        """Ends a run that `fit` did not end, because it raised."""
        if not log.has_ended:
            if self._log is log:
                self._stop()
            log.break_off()

    def _stop(self) -> None:
        """Lets go of the model, after a `fit` that has ended or raised."""


class StepMonitor(Monitor):
    """Observes the steps of `fit` through a tap.

    A subclass defines `_make_observer`, and may read the observer at any time.

    Args:
        record_to: File for the recording.
    """

    # Keras may run the batch hooks of other callbacks asynchronously; this
    # callback has none.
    async_safe = True
    _of_fit: ClassVar[dict[str, Any]] = {
        "_observer": None,
        "_trained": None,
        "_earlier": None,
    }

    def __init__(self, *, record_to: str | os.PathLike[str] | None) -> None:
        super().__init__(record_to=record_to)
        self._observer: StepObserver[Any] | None = None
        # That of the last `fit`: the next one need not compile its step again.
        self._earlier: StepObserver[Any] | None = None
        # The model, because `self.model` waits for the device on JAX.
        self._trained: Any = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._is_listed_again():
            return
        self._stop()
        # So that an earlier `fit` that raised cannot end this one: its list of
        # callbacks may be freed at any moment.
        self._log = None
        model = self._trained = self.model
        self._check(model)
        self._log = self._open_log(model)
        self._begin()
        # Attached when the first epoch begins: until then, other callbacks
        # may still raise.
        self._observer = self._make_observer(model)
        self._observer.listener = self._listener
        earlier = self.let_go()
        if earlier is not None:
            self._observer.take_over(earlier)

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._log is not None and self._observer is not None:
            if not self._log.begun:
                _ = self._log.epoch(epoch)
                self._observer.start_at(self.recording.next_step)
            self._observer.begin_epoch(self.params.get("steps"))
            ObservedTrainFunction.attach(self._trained, self._observer)

    def _end_log_epoch(self, epoch: int, logs: dict[str, Any] | None) -> None:
        if self._log is not None and self._observer is not None:
            step = self.recording.next_step + self._observer.steps
            self._log.end_epoch(epoch, step, logs)
            if not ObservedTrainFunction.is_attached(self._observer):
                missed = self.params.get("steps") or 0
                missed -= self._observer.steps_of_epoch
                which = f"the last {missed} steps" if missed > 0 else "all"
                self._warn_that(
                    f"did not see {which} of epoch {epoch + 1}: the model was "
                    "given another `train_function`. Its steps after that one "
                    "are numbered too low."
                )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        observer = self._observer
        self._stop()
        self._earlier = observer
        super().on_train_end(logs)

    def set_model(self, model: Any) -> None:
        """Called by Keras when a `fit` begins; `None` lets go of the model."""
        if model is not self._model:
            self._earlier = None
            if self._log is not None:
                self._log.forget()
        super().set_model(model)

    def let_go(self) -> StepObserver[Any] | None:
        """Gives up what another monitor could measure the next `fit` with."""
        earlier, self._earlier = self._earlier, None
        return earlier

    def take_back(self, earlier: StepObserver[Any] | None) -> None:
        """Takes what an equal monitor has given up, before `fit` begins."""
        self._earlier = earlier

    @property
    def steps(self) -> int:
        """Steps that the running `fit` has taken."""
        return 0 if self._observer is None else self._observer.steps

    def gate(self, gated: Callable[[Schedule], Schedule]) -> None:
        """Lets another schedule decide when the monitor's own may measure."""
        if self._observer is not None:
            self._observer.schedule = gated(self._observer.schedule)

    def _begin(self) -> None:
        """Prepares what a training run needs in addition to the recording."""

    def _make_observer(self, model: Any) -> StepObserver[Any]:
        """Decides which steps to measure, and with what tap."""
        raise NotImplementedError

    def _stop(self) -> None:
        if self._observer is not None:
            ObservedTrainFunction.detach(self._observer)
        self._observer = self._trained = None
        self.recording.flush()

    def _check(self, model: Any) -> None:
        name = type(self).__name__
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                f"`{name}` needs a model that was compiled with an optimizer. "
                "Received: a model whose optimizer is None."
            )
        if model.built and not model.trainable_variables:
            raise ValueError(
                f"`{name}` needs a model with at least one trainable variable. "
                "Received: a model without one. Are all layers frozen "
                "(`layer.trainable = False`)?"
            )


class SampledMonitor(StepMonitor):
    """Measures a sample of the steps and records it at the end of each epoch.

    A subclass defines `_make_tap` and `_record`.

    Args:
        every: Measure every n-th step of an epoch, at least 1.
        max_samples: Measure at most this many steps of the first epoch, and
            then at most a sixteenth of an epoch (at least 4 steps); `None` for
            all steps selected by `every`.
        record_to: File for the recording.
    """

    def __init__(
        self,
        every: int,
        *,
        max_samples: int | None,
        record_to: str | os.PathLike[str] | None,
    ) -> None:
        super().__init__(record_to=record_to)
        check_positive_int(type(self).__name__, "every", every)
        if max_samples is not None:
            check_positive_int(type(self).__name__, "max_samples", max_samples)
        self.every = every
        self.max_samples = max_samples

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._log is None or self._observer is None:
            return
        self._end_log_epoch(epoch, logs)
        values = self.record_steps(epoch)
        self.recording.flush()
        if logs is not None:
            logs.update(values)

    def record_steps(self, epoch: int) -> dict[str, float]:
        """Records the steps measured since the last call.

        Args:
            epoch: Epoch of the steps, as Keras numbers it.

        Returns:
            Values for the logs.
        """
        if self._log is None or self._observer is None:
            return {}
        read = self._observer.read_by_tap()
        values = {}
        for group in read:
            samples = [each for each in group if len(each.steps)]
            if samples:
                values = self._record(self._log.epoch(epoch), samples)
        if read and not values:
            self._warn_that(
                "measured nothing in this epoch: none of its steps trained a "
                "variable of the model."
            )
        return values

    def _make_observer(self, model: Any) -> StepObserver[Any]:
        capacity = max(self.max_samples or 256, model.steps_per_execution)
        make_tap = functools.partial(self._make_tap, model, capacity)
        return StepObserver(
            type(self).__name__,
            make_tap(),
            Schedule(self.every, self.max_samples),
            first_step=self.recording.next_step,
            make_tap=make_tap,
        )

    def _make_tap(self, model: Any, capacity: int) -> Tap[Any, Any]:
        """Makes the tap that measures steps and keeps up to `capacity`."""
        raise NotImplementedError

    def _record(self, epoch: int, samples: list[Any]) -> dict[str, float]:
        """Records what the tap read in an epoch; returns values for the logs.

        `samples` is never empty, and none of its items is.
        """
        raise NotImplementedError
