"""What is wrong with a training run, and what to change."""

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._shown_as_text import beside_progress_bar, print_through
from keras_concepts._validation import (
    check_positive_int,
    check_probe,
    checked_callable,
    checked_number,
    checked_path,
)
from keras_concepts.callbacks._careful import Careful
from keras_concepts.callbacks._checkup import Checkup
from keras_concepts.callbacks._continued_monitor import ContinuedMonitor
from keras_concepts.callbacks._data_facts import DataFacts
from keras_concepts.callbacks._driven_monitors import (
    DrivenMonitors,
    Earlier,
    monitors_for,
)
from keras_concepts.callbacks._live_report import LiveReport
from keras_concepts.callbacks._live_writers import LiveWriters, checked_writers
from keras_concepts.callbacks._monitor import StepMonitor
from keras_concepts.callbacks._on_finding import (
    OnFinding,
    checked_on_finding,
    tell,
)
from keras_concepts.callbacks._probe import fed_probe
from keras_concepts.callbacks._time_budget import (
    GatedSchedule,
    aside,
    budget_for,
    checks_of_an_epoch,
)
from keras_concepts.callbacks.gradient_monitor import GradientMonitor
from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.rules.finding import Finding
from keras_concepts.rules.judge import Judge
from keras_concepts.rules.out_of_range import has_numbers_out_of_range
from keras_concepts.rules.training import ENDED

# What is missing where looking at a large model takes too long.
_NO_LOOK = (
    "activations, error signals and predictions: compiling the probe of such a "
    "large model takes too much of such a short run (with `time_budget=None`, "
    "it is compiled anyway)"
)
# Steps of a long first epoch after which the run is judged.
_INSIDE = (64, 256, 1024, 4096, 16384)
# For a copy of a doctor, which never runs.
_OF_A_COPY = Careful("TrainingDoctor")


class TrainingDoctor(ContinuedMonitor):
    """Says what is wrong with a training run, where, since when and why.

    The doctor measures what all monitors measure, through one measured train
    function and into one recording, together with facts about the data, labels
    and outputs. It judges the recording after each epoch (and within a long
    first one) by the rules of `keras_concepts.rules`. Each fault is reported
    as a `Finding`: the numbers that support it, and what to change. Findings
    that share a cause are one problem.

    What is certain is reported at once: values that are not finite, or outputs,
    loss and labels that contradict each other. Everything else is reported only
    if it does harm, that is, if the run is not on track to remove what a
    constant prediction would leave of the loss (`keras_concepts.rules.harm`). A
    finding that no longer holds is withdrawn.

    Weights, optimizer, random seeds and data are bit-identical with and
    without the doctor. What it cannot inspect is listed in `unchecked`. A
    failure inside the doctor causes a warning and never ends the run.

    The doctor itself records the following each time it looks, in addition to
    what `GradientMonitor`, `NonFiniteGuard`, `PenaltyReporter`,
    `BatchNormShiftMonitor` and `SignalMonitor` record. For the run (the owner
    is `""`):

    | quantity | meaning |
    |---|---|
    | `checked` | 1 each time it judged, 2 after the last step |
    | `weight_penalty` | what the regularizers of the weights add |
    | `probe_inference_loss` | loss of the probe at inference |
    | `probe_added_loss` | what layers add to it by `add_loss` |
    | `order_error` | 0 if attention ignores the order of the steps |

    for each output (the owner is its name, or `""` if there is only one),
    measured on the probe at inference:

    | quantity | meaning |
    |---|---|
    | `prediction_mean`, `prediction_std` | of all entries |
    | `prediction_min`, `prediction_max` | of all entries |
    | `prediction_spread` | 0 if every sample gets the same prediction |
    | `prediction_sum_error` | 0 if the entries of each sample add up to 1 |
    | `predicted_share` | share of samples predicted to be of each class |
    | `probe_accuracy` | share of samples whose class is predicted |
    | `probe_balanced_accuracy` | mean of that over the classes |
    | `probe_recall`, `probe_class_count` | of each class, and its samples |
    | `probe_separation` | share of samples nearest to the mean of their class |
    | `probe_explained` | share of the targets' variance that is explained |
    | `probe_rank_correlation` | of predictions and targets |

    and for each trainable variable (the owner is its path):

    | quantity | meaning |
    |---|---|
    | `epoch_weight_rms` | root mean square |
    | `epoch_update_rms` | that of the change since it last looked |
    | `distance_rms` | that of the change since it first looked |
    | `equal_columns` | share of a kernel's units that equal its first |

    Where several processes train the model on JAX, each needs the same doctor.
    They look at the same steps, regardless of their clocks, and only process 0
    writes files; findings about the data are based on its share.

    Measuring has a time budget. Where steps are compiled, the steps of a short
    run are not measured at all; weights, activations, error signals and
    predictions are then measured on the probe, after some of the epochs. On
    JAX, which compiles that too, a model of 50 layers or more is measured on
    the probe only if compiling takes at most a fifth of the run, and not before
    the first epoch. So `noticed` may differ between machines.
    `time_budget=None` always measures everything. Processes that train one
    model must measure the same steps, regardless of their clocks: on TensorFlow
    every step, on JAX every 16th step from the 64th on.

    Random numbers that inspecting the model draws from the generators of
    Python, NumPy or PyTorch are put back, unless another thread that trains or
    prepares batches may have drawn some meanwhile; `unchecked` then says so.

    Args:
        probe: `(x, y)` or `(x, y, sample_weight)` as for `fit`, a few hundred
            rows on which signals and predictions are measured. By default 256
            rows of the training data, spread evenly if `fit` is given arrays,
            otherwise the first rows seen; fewer for a large model, unless
            `time_budget` is `None`.
        record_to: File for the recording, appended to after each epoch. See
            `Recording`.
        on_finding: What to do with a new problem. `"report"` prints it on one
            line, and all problems at the end; `"warn"` issues a Python warning;
            `"stop"` does what `"report"` does, and stops the run if the finding
            is certain (`severity="error"`); a callable is called with each
            `Finding`, including consequences.
        every: Measure at most every n-th step of an epoch, at least 1.
        time_budget: Share of the training time that measuring may take, above
            0, or `None` for no limit. Compiling the measured step is counted
            where the length of the run is known.
        report_to: File for an HTML report, rewritten while the run goes on and
            at its end; see `report`. Needs the extra
            `keras-concepts[report]`.
        sink: Called with the text to print.
        log_to: Where else to show the run while it goes on, once per epoch: a
            `reports.TensorBoardWriter`, `reports.MLflowWriter` or
            `reports.WandbWriter`, a list of these, or any object with the
            method `write(recording, findings)`.

    Attributes:
        findings: Every `Finding` of the last `fit`, causes first and withdrawn
            findings last.
        checked: Names of the rules that could be judged.
        unchecked: Sentences on what could not be judged, and why.
        prints_verdict: Whether to print all findings when `fit` ends. They are
            printed only if `on_finding` is `"report"` or `"stop"`.

    Raises:
        TypeError: `probe` is not a tuple, or `log_to` has no method `write`.
        ValueError: `probe` does not have one to three parts; or `on_finding`,
            `every` or `time_budget` is not one of the above.
        OSError: `record_to` cannot be opened, when `fit` begins.

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential(
    ...     [keras.Input((2,)), keras.layers.Dense(1)]  # no sigmoid
    ... )
    >>> model.compile("adam", "binary_crossentropy")
    >>> doctor = kc.callbacks.TrainingDoctor(on_finding=lambda finding: None)
    >>> x = np.array([[1, 2], [-1, -2], [2, 1], [-2, -1]])
    >>> y = np.array([0.0, 1.0, 0.0, 1.0])
    >>> history = model.fit(x, y, verbose=0, callbacks=[doctor])
    >>> finding = doctor.findings[0]
    >>> finding.rule, finding.severity, finding.since
    ('head_loss_mismatch', 'error', (0, 0))
    >>> finding.advice.split(",")[0]
    'Set `from_logits=True` in the loss'
    """

    # Keras may run the batch hooks of other callbacks asynchronously; this
    # callback has none.
    async_safe = True
    _keeps_logs = True
    _of_fit: ClassVar[dict[str, Any]] = {
        "_monitors": DrivenMonitors("TrainingDoctor", _OF_A_COPY),
        "_checkup": None,
        "_data": None,
        "_trained": None,
        "_writers": LiveWriters([], _OF_A_COPY),
    }

    def __init__(
        self,
        probe: Any = None,
        record_to: str | os.PathLike[str] | None = None,
        on_finding: OnFinding = "report",
        *,
        every: int = 1,
        time_budget: float | None = 0.1,
        report_to: str | os.PathLike[str] | None = None,
        sink: Callable[[str], Any] = print,
        log_to: Any = None,
    ) -> None:
        super().__init__(record_to=record_to)
        if probe is not None:
            check_probe("TrainingDoctor", probe)
        check_positive_int("TrainingDoctor", "every", every)
        owner = "TrainingDoctor"
        if time_budget is not None:
            time_budget = checked_number(
                owner, "time_budget", time_budget, above=0, finite=False
            )
        _ = checked_writers(owner, log_to)
        self.probe = probe
        self.on_finding = checked_on_finding(owner, on_finding)
        self.every = every
        self.time_budget = time_budget
        self.report_to = checked_path(owner, "report_to", report_to)
        self.sink = checked_callable(owner, "sink", sink)
        self.log_to = log_to
        self.prints_verdict = True
        self.findings: list[Finding] = []
        self._begin_run()

    def _begin_run(self) -> None:
        self._judge: Judge | None = None
        self._judged: tuple[list[str], list[str]] = [], []  # of a copy
        self._begin_fits()
        self._careful = Careful(type(self).__name__)
        self._monitors = DrivenMonitors(type(self).__name__, self._careful)
        self._checkup: Checkup | None = None
        self._live_report = LiveReport(self._report_live, self.time_budget)
        self._data: DataFacts | None = None
        self._trained: Any = None
        self._writers = LiveWriters([], self._careful)
        self._epoch = 0
        self._taken = 0  # steps in the fits before
        self._seen_from_inside = 0  # steps when `_inside` was last called
        self._is_probed = self._is_broken = False
        self._writes_files = True
        self._has_bad_probe = self._looks_later = False

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if self._judge is not None:
            judged = self._judge.checked, self._judge.unchecked
            state |= {"_judge": None, "_judged": judged}
        return state

    @property
    def checked(self) -> list[str]:
        """Names of the rules that could be judged."""
        return self._judged[0] if self._judge is None else self._judge.checked

    @property
    def unchecked(self) -> list[str]:
        """What could not be judged, and why."""
        unchecked = self._judged[1]
        if self._judge is not None:
            unchecked = self._judge.unchecked
        return [*unchecked, *self._missing]

    @property
    def _missing(self) -> list[str]:
        """What could not be measured, and why."""
        if self._looks_later:
            return [*self._careful.missing, _NO_LOOK]
        return [*self._careful.missing]

    def set_model(self, model: Any) -> None:
        """Called by Keras when a `fit` begins; `None` lets go of the model."""
        if model is not self._model:
            _ = self._monitors.let_go()
        super().set_model(model)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._is_listed_again():
            return
        if self._goes_on:
            before = self.recording.next_step
            self._go_on()
            self._taken += self.recording.next_step - before
            self._budget.go_on(self._monitors.have_compiled_for(self.model))
        else:
            self._start()
        model = self._trained = self.model
        with self._aside():
            self._see_data()
            for each in monitors_for(model, self.every, self._non_finite):
                self._monitors.begin(
                    each, model, self.params, self._log, self._gated
                )
            self._record_names()

    def _see_data(self) -> None:
        """Looks at the data of a `fit` until all is known, and for a probe."""
        are_known = self._data is not None and self._data.are_known
        is_probed = self._checkup is not None and self._checkup.has_probe
        if are_known and (is_probed or self.probe is not None):
            return
        self._data = DataFacts(self.model, self._careful, are_known)
        self._record_data_facts()

    def _start(self) -> None:
        self.conclude()
        earlier = self._monitors.let_go()
        self._begin_run()
        self._monitors.take_back(earlier)
        self.findings = []
        model = self.model
        self._writes_files = _backend.is_main_process(model)
        if self._writes_files:
            writers = checked_writers(type(self).__name__, self.log_to)
            self._writers = LiveWriters(writers, self._careful)
        self._log = self._open_log(model)
        self._judge = Judge(self.recording)
        share = self.time_budget
        if _backend.has_other_workers(model):
            self._careful.note(
                "the data of the other processes: findings about inputs, "
                "labels and the probe cover what this process reads"
            )
            if share is not None:
                # With its own clock, each would measure different steps.
                share = None
                self._careful.note(
                    "`time_budget`: the processes of distributed training "
                    "must run the same steps, so every step is measured"
                )
        self._budget = budget_for(model, share)
        processes = _backend.process_count(model)
        if processes > 1:
            self._careful.note(
                f"the data of {processes - 1} of the {processes} processes, "
                "each of which reads its share: findings about inputs and "
                "labels cover the share of the first"
            )

    def _let_go(self) -> tuple[Checkup | None, Earlier]:
        checkup, self._checkup = self._checkup, None
        return checkup, self._monitors.let_go()

    def _take_back(self, kept: tuple[Checkup | None, Earlier]) -> None:
        self._checkup, earlier = kept
        self._monitors.take_back(earlier)

    def conclude(self) -> None:
        """Ends a run that no other `fit` has continued after all."""
        self._end_run()
        if self._log is not None and self._log.is_whole and self._begun_at:
            self._begun_at = []
            try:
                self._check(self._epoch, self._log.last_step, ended=True)
            finally:  # a callable `on_finding` may raise
                self._checkup = None
                self._write()
                self.recording.close()
                self._live_report.finish()
        self._checkup = None

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._log is None:
            return
        if not self._log.begun:
            self._first_epoch = epoch
            steps = self.params.get("steps")
            self._budget.plan(steps, self._planned_epochs())
        is_first = not self._log.begun and not self._begun_at
        self._epoch = self._log.epoch(epoch)
        self._monitors.begin_epoch(epoch)
        if is_first and self.model.built:
            with self._aside():
                self._look(-1, self.recording.next_step)
                self._check(-1, self.recording.next_step)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._log is None:
            return
        self._epochs += 1
        step = self._step()
        with self._aside():
            self._monitors.end_epoch(epoch)
            self._log.end_epoch(epoch, step, logs)
            self._record_data_facts()
            planned = self._planned_epochs()
            is_planned = checks_of_an_epoch(self._epochs, planned)
            is_new = _is_broken(logs) and not self._is_broken
            self._is_broken |= is_new
            self._is_probed = is_new or self._budget.allows_look()
            if is_planned and not self._is_probed:
                done = self._epochs / max(planned, self._epochs)
                self._is_probed = self._budget.allows_planned_look(done)
            if self._is_probed or is_planned:
                self._look(self._epoch, step, self._is_probed)
                self._check(self._epoch, step)
            elif self._checkup is not None:  # the data loss needs it
                with self._careful("look at the penalties"):
                    self._checkup.record_penalty(
                        self.recording, self._epoch, step, self.model
                    )
            self.recording.flush()
            self._live_report.update()
        self._write()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if self._log is None or self._judge is None:
            return
        if self._epochs:
            with self._aside():
                if not self._is_probed:
                    self._look(self._epoch, self._step())
                # If one `fit` has followed another, more may follow.
                ended = not self._begun_at
                self._check(self._epoch, self._step(), ended=ended)
        self._end_run()
        missing = self._missing
        if missing or "missing" in self.recording.facts:
            self.recording.record_facts({"missing": missing})
        self._write()
        super().on_train_end(logs)
        if not self._begun_at:
            self._live_report.finish()
        if self.prints_verdict and self.on_finding in ("report", "stop"):
            with self._careful("print its verdict"):
                print_through(self.sink, self.summary)

    def _stop(self) -> None:
        self._end_run()
        self._live_report.finish()

    def _end_run(self) -> None:
        self._monitors.end()
        if self._data is not None:
            self._data.close()
        self._trained = None

    def _step(self) -> int:
        """Steps taken so far, over all runs of the recording."""
        step = self._monitors.step
        if step is None:
            epochs = self._epochs - sum(self._begun_at[-1:])
            steps = epochs * (self.params.get("steps") or 0)
            step = self.recording.next_step + steps
        return step

    def _record_names(self) -> None:
        """Records which rows belong to this doctor, for `diagnose`.

        A file may also hold rows of other monitors and of other doctors.
        """
        recording = self.recording
        if self._log is not None:
            self._signals = self._log.recording_for("SignalMonitor").monitor
        names = [recording.monitor, self._signals, *self._monitors.names]
        known = recording.facts.get("doctor", [])
        names = [*known, *(each for each in names if each not in known)]
        if names == known:
            return
        if recording.monitor == self._recorded_name():
            recording.record_facts({"doctor": names})
        else:  # that of the file is another one
            recording.facts["doctor"] = names

    def _gated(self, monitor: StepMonitor, inner: Schedule) -> Schedule:
        inside = self._inside if isinstance(monitor, GradientMonitor) else None
        return GatedSchedule(inner, self._budget, inside, self._taken)

    def _record_data_facts(self) -> None:
        if self._data is not None:
            self._data.record(self.recording, self._step(), self._epochs)

    def _look(self, epoch: int, step: int, probed: bool = True) -> None:
        """Measures weights and, unless told not to, signals and predictions."""
        model = self.model
        if not model.built or not model.trainable_variables:
            return
        with self._careful("look at the weights"):
            if self._checkup is None:
                heads = self.recording.facts.get("heads") or []
                self._checkup = Checkup(model, heads, self._signals)
            self._checkup.record_weights(self.recording, epoch, step, model)
        if self._checkup is None or self._has_bad_probe or not probed:
            return
        with self._careful("use its probe"):
            batch = None
            if not self._checkup.has_probe:
                if has_numbers_out_of_range(self.recording):
                    self._careful.note(
                        "signals and predictions of a probe: some ids or class "
                        "numbers are out of range"
                    )
                    return
                batch = self._probe_batch(model)
                if batch is None:
                    return
            layers = len(_backend.flatten_layers(model))
            self._looks_later = not self._budget.allows_first_look(layers)
            if self._looks_later:
                return
            with self._budget.looking():
                if batch is not None:
                    self._checkup.use_probe(model, batch)
                self._checkup.record_probe(self.recording, epoch, step)
            return
        self._has_bad_probe = True  # it was said, and will not get better

    def _probe_batch(self, model: Any) -> Any:
        if self.probe is not None:
            return fed_probe(type(self).__name__, model, self.probe)
        if self._data is None:
            return None
        return self._data.probe(affordable=self.time_budget is not None)

    def _check(self, epoch: int, step: int, ended: bool = False) -> None:
        if self._judge is None:
            return
        mark = ENDED if ended else 1.0
        self.recording.append(epoch, "", q.CHECKED, step, mark)
        new = []
        with self._careful("judge the run"):
            new = self._judge.check((max(epoch, 0), step))
        self.findings = self._judge.findings
        sink = beside_progress_bar(self.sink, self.params)
        for each in new:
            tell(each, self.on_finding, sink, self._trained, self._careful)

    def _inside(self, step: int) -> None:
        """Judges the run within a long first epoch."""
        before, self._seen_from_inside = self._seen_from_inside, step
        # One execution may pass several steps.
        is_due = any(before < mark <= step for mark in _INSIDE)
        if self._epochs or not is_due:
            return
        with self._aside():
            self._monitors.record()
            self._check(self._epoch, self.recording.next_step + step)

    def _non_finite(self, message: str) -> None:
        del message
        self._check(self._epoch, self._step())

    def _write(self) -> None:
        self._writers.write(self.recording, self.findings)

    def _report_live(self, refresh: int | None) -> None:
        if self.report_to is not None and self._writes_files:
            with self._careful("write its report"):
                self._write_report(
                    self.report_to, refresh=refresh, judge=self._judge
                )

    @contextlib.contextmanager
    def _aside(self) -> Iterator[None]:
        before = _backend.generators_left_moved()
        with aside(self._budget):
            yield
        if _backend.generators_left_moved() > before:
            self._careful.note(
                "the model draws random numbers from generators that other "
                "threads use too: the run may differ from one without a doctor"
            )


def _is_broken(logs: dict[str, Any] | None) -> bool:
    """Whether the loss of the epoch is NaN or infinite."""
    try:
        return not math.isfinite((logs or {}).get("loss", 0.0))
    except (TypeError, ValueError):  # a log may hold anything
        return False
