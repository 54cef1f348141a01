"""Attaches a doctor to every `fit`, without changing the training script."""

import contextlib
import os
import pathlib
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from keras_concepts import _after_keras
from keras_concepts._shown_as_text import print_through
from keras_concepts._wrapped_fit import WrappedFit
from keras_concepts.recording import Recording
from keras_concepts.reports import report_of, write_report
from keras_concepts.reports.doctor.verdict import verdict_on
from keras_concepts.reports.drawing.names import printable
from keras_concepts.rules.finding import Finding

if TYPE_CHECKING:
    from keras_concepts.callbacks import TrainingDoctor

_DOCTOR = "TrainingDoctor"
# The watches whose blocks have been entered, in all threads, last one last.
_active: list["Watch"] = []
_changing = threading.RLock()


@contextlib.contextmanager
def watch(
    record_to: str | os.PathLike[str] | None = None,
    on_finding: Any = "report",
    **options: Any,
) -> Iterator["Watch"]:
    """Attaches a `TrainingDoctor` to every `fit` inside the block.

    The doctor sees the `x`, `y` and `validation_data` of `fit`, of any kind,
    and takes its probe from them: evenly spaced rows of arrays, or the first
    rows that training itself reads from datasets, loaders and generators, so
    that nothing is read twice or lost. Everything else is as with
    `TrainingDoctor` in `callbacks=`: weights, seeds and data are the same to
    the last bit. A `fit` that already has a `TrainingDoctor` keeps it.

    If a `fit` continues an earlier one (the same model and optimizer, neither
    compiled again nor trained in between), both are one training run with one
    verdict, as in a loop that calls `fit` for one epoch at a time.

    A `fit` in a callback of another one, or in another thread, has its own
    doctor. In a thread that has not entered a `watch` itself, a `fit` belongs
    to the one that was entered last. Processes started inside the block are not
    watched, nor are training loops that do not call `fit` (`train_on_batch`,
    `GradientTape`).

    When the block ends, even by an exception, Keras is as before.

    Args:
        record_to: File for the recording; each `fit` is a run in it. Runs that
            overlap in time are recorded to files next to it, with a number
            appended to the name.
        on_finding: What to do about a new problem; see `TrainingDoctor`. With
            `"report"`, all verdicts are printed when the block ends.
        **options: Further arguments of `TrainingDoctor`.

    Yields:
        A `Watch`.

    Raises:
        TypeError: `options` has a name that `TrainingDoctor` does not know.
        ValueError: As `TrainingDoctor`.

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(1)]  # no sigmoid
    ... )
    >>> model.compile("adam", "binary_crossentropy")
    >>> x = np.array([[1, 2], [-1, -2], [2, 1], [-2, -1]])
    >>> y = np.array([0.0, 1.0, 0.0, 1.0])
    >>> with kc.watch(on_finding=lambda finding: None) as doctor:
    ...     history = model.fit(x, y, verbose=0)
    >>> doctor.findings[0].rule
    'head_loss_mismatch'
    """
    from keras_concepts.callbacks import TrainingDoctor

    # Wrong arguments are reported before anything is trained.
    _ = TrainingDoctor(on_finding=on_finding, **options)
    watching = Watch(record_to, on_finding, options)
    try:
        with watching:
            yield watching
    finally:
        if on_finding in ("report", "stop"):
            with _no_failure("print its verdicts"):
                print_through(options.get("sink", print), watching.summary)


class Watch:
    """The result of `watch`: a doctor for each `fit`.

    It watches inside a with-block, and does not need Keras before the first
    `fit`.

    Args:
        record_to: See `watch`.
        on_finding: See `watch`.
        options: Further arguments of `TrainingDoctor`.
        at_begin: Called with the doctor of each `fit`, before it begins.
        at_end: Called with it afterwards, even if `fit` raised.

    Attributes:
        doctors: The `TrainingDoctor` of each `fit`, in the order in which they
            began.
    """

    def __init__(
        self,
        record_to: str | os.PathLike[str] | None = None,
        on_finding: Any = "report",
        options: dict[str, Any] | None = None,
        *,
        at_begin: Callable[["TrainingDoctor"], Any] | None = None,
        at_end: Callable[["TrainingDoctor"], Any] | None = None,
    ) -> None:
        self.record_to = None if record_to is None else pathlib.Path(record_to)
        self.on_finding = on_finding
        self.doctors: list[TrainingDoctor] = []
        self._options = dict(options or {})
        self._at_begin = at_begin
        self._at_end = at_end
        # The thread of each.
        self._running: dict[TrainingDoctor, threading.Thread] = {}
        # Doctor and model of the run that may yet continue. Watching does not
        # keep a model alive.
        self._waiting: dict[TrainingDoctor, weakref.ref[Any]] = {}
        self._thread: int | None = None
        self._process = os.getpid()

    def __enter__(self) -> "Watch":
        self._thread, self._process = threading.get_ident(), os.getpid()
        with _changing:
            _active.append(self)
            _after_keras.run(_put_on)
        return self

    def __exit__(self, *exception: object) -> None:
        with _changing:
            _active.remove(self)
            if not _active:
                _wrapped_fit.take_off()
            if self.is_of_this_process:
                for doctor in [*self._waiting]:
                    self._conclude(doctor)

    def _conclude(self, doctor: "TrainingDoctor") -> None:
        """Ends a run that no other `fit` will continue."""
        from keras_concepts.callbacks._unfinished_run import unfinished_run

        found = self._waiting.pop(doctor, None)
        model = None if found is None else found()
        left = None if model is None else unfinished_run(doctor, model)
        if left is not None:
            left.forget()
        with _no_failure("end a run"):
            doctor.conclude()

    def wait(self) -> None:
        """Waits for threads in `fit`, as Python does on exit."""
        while any(not thread.daemon for thread in self._running.values()):
            time.sleep(0.05)

    @property
    def findings(self) -> list[Finding]:
        """Findings of every `fit`, in the order in which they began."""
        return [found for each in self.doctors for found in each.findings]

    @property
    def recording(self) -> Recording:
        """Recording of the last `fit`; empty before the first."""
        return self.doctors[-1].recording if self.doctors else Recording()

    def summary(
        self, console: Console | None = None, *, max_rows: int | None = 40
    ) -> None:
        """Prints the verdict on each run, in one line if nothing was found.

        Args:
            console: Where to print, by default standard output.
            max_rows: Maximum number of problems per run; `None` prints all.
        """
        console = console or Console()
        if not self.doctors:
            console.print(
                "No call of `fit` was seen, so there is nothing to judge."
            )
        elif len(self.doctors) == 1:
            self.doctors[0].summary(console, max_rows=max_rows)
        else:
            for number, doctor in enumerate(self.doctors, start=1):
                _print_one_of_many(number, doctor, console, max_rows)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Any:
        """Draws the evidence for the findings in the last `fit`.

        Args:
            path: Image file to write instead of showing the figure.

        Returns:
            The `matplotlib.figure.Figure`.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return report_of(_DOCTOR).plot(self.recording, path)

    def report(
        self, path: str | os.PathLike[str], *, title: str | None = None
    ) -> None:
        """Writes the report of the last `fit` as one HTML file.

        Args:
            path: File to write, replaced in one step.
            title: Title of the page; by default the name of the model.

        Raises:
            ImportError: jinja2 or matplotlib is not installed.
        """
        write_report(self.recording, path, title=title)

    def _repr_html_(self) -> str:
        """The verdict on each `fit`, for notebooks."""
        shown = [doctor._repr_html_() for doctor in self.doctors]
        return "<hr>".join(shown) or report_of(_DOCTOR).html(Recording())

    def fit(
        self, call: Callable[[Any], Any], model: Any, callbacks: Any
    ) -> Any:
        """Calls `fit` with a doctor among its callbacks.

        Args:
            call: Calls Keras' own function with the given callbacks.
            model: The model of the `fit`.
            callbacks: The user's callbacks.
        """
        doctor = None
        with _no_failure("watch this `fit`"), _changing:
            doctor = self._begin(model, callbacks)
        if doctor is None:
            return call(callbacks)
        try:
            with _with_doctor(doctor, callbacks, model) as listed:
                return call(listed)
        finally:
            with _no_failure("end this run"):
                self._end(doctor, model, callbacks)

    def _begin(self, model: Any, callbacks: Any) -> "TrainingDoctor | None":
        """The user's doctor, that of the continued run, or a new one."""
        from keras_concepts.callbacks import TrainingDoctor

        own = [c for c in _listed(callbacks) if isinstance(c, TrainingDoctor)]
        if any(each in self._running for each in own):
            return None  # that `fit` called this one
        going_on = [d for d in [*self._waiting] if d.go_on_with(model)]
        doctor = next(iter([*own, *going_on]), None) or self._new_doctor()
        if self._at_begin is not None:
            self._at_begin(doctor)
        if doctor not in self.doctors:
            self.doctors.append(doctor)
        _ = self._waiting.pop(doctor, None)
        self._running[doctor] = threading.current_thread()
        return doctor

    def _end(
        self, doctor: "TrainingDoctor", model: Any, callbacks: Any
    ) -> None:
        del self._running[doctor]
        doctor.break_off()
        if not doctor.has_begun:  # `fit` did not reach it
            self.doctors.remove(doctor)
        elif not any(each is doctor for each in _listed(callbacks)):
            doctor.suspend(model)
            self._waiting[doctor] = weakref.ref(model)
        for waiting, left_to in [*self._waiting.items()]:
            if left_to() is None or self not in _active:
                self._conclude(waiting)
        if self._at_end is not None:
            self._at_end(doctor)

    def _new_doctor(self) -> "TrainingDoctor":
        from keras_concepts.callbacks import TrainingDoctor

        doctor = TrainingDoctor(
            record_to=self._file(),
            on_finding=self.on_finding,
            **self._options,
        )
        doctor.prints_verdict = False
        return doctor

    def _file(self) -> pathlib.Path | None:
        """A file to record to that no other `fit` is using now."""
        path = self.record_to
        taken = [doctor.record_to for doctor in self._running]
        number = 2
        while path is not None and path in taken and self.record_to is not None:
            path = self.record_to.with_stem(f"{self.record_to.stem}-{number}")
            number += 1
        return path

    @property
    def is_here(self) -> bool:
        """Whether it was entered in this thread."""
        return self._thread == threading.get_ident()

    @property
    def is_of_this_process(self) -> bool:
        """False in a copy made by a fork."""
        return self._process == os.getpid()


def _print_one_of_many(
    number: int, doctor: Any, console: Console, max_rows: int | None
) -> None:
    model = doctor.recording.facts.get("model") or "model"
    title = f"run {number}: {printable(model)}"
    found = verdict_on(doctor.recording)
    if found is not None and not found[0].problems:
        console.print(Text(f"{title}: {found[0].headline}"))
        return
    console.rule(Text(title), align="left", style="dim")
    doctor.summary(console, max_rows=max_rows)


def _watch_of_this_thread() -> Watch | None:
    """The watch that was entered last, in this thread if any was."""
    active = [each for each in [*_active] if each.is_of_this_process]
    own = [each for each in active if each.is_here]
    return next(reversed(own or active), None)


def _put_on() -> None:
    with _changing:
        if _active:
            _wrapped_fit.put_on()


_wrapped_fit = WrappedFit(_watch_of_this_thread)


@contextlib.contextmanager
def _no_failure(what: str) -> Iterator[None]:
    """Keeps a failure inside from breaking a training run."""
    try:
        yield
    except Exception as error:  # reported, and the run continues unwatched
        warnings.warn(
            f"`keras_concepts.watch` could not {what} "
            f"({type(error).__name__}: {error}).",
            UserWarning,
            stacklevel=2,
        )


def _listed(callbacks: Any) -> list[Any]:
    """The callbacks passed to `fit`, in any form."""
    import keras

    if isinstance(callbacks, keras.callbacks.CallbackList):
        return list(callbacks.callbacks)
    return keras.tree.flatten(callbacks) if callbacks else []


@contextlib.contextmanager
def _with_doctor(doctor: Any, callbacks: Any, model: Any) -> Iterator[Any]:
    """The callbacks to pass to `fit`, with the doctor first."""
    import keras

    listed = _listed(callbacks)
    if any(each is doctor for each in listed):
        yield callbacks
    elif not isinstance(callbacks, keras.callbacks.CallbackList):
        yield [doctor, *listed]
    else:  # the user's own, which `fit` takes as is
        doctor.set_model(model)
        doctor.set_params(callbacks.params or {})
        callbacks.callbacks = [doctor, *listed]
        try:
            yield callbacks
        finally:
            callbacks.callbacks = [
                each for each in callbacks.callbacks if each is not doctor
            ]
