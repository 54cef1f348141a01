"""What every monitor records about a run besides its measurements."""

import os
import uuid
import weakref
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts.instruments.facts import (
    model_facts,
    planned_facts,
    run_facts,
)
from keras_concepts.recording import Recording

# For each model, what Keras passed to the callbacks of its last `fit`, and the
# identity of that run. Keras passes the same dict to all callbacks of a `fit`.
_runs: weakref.WeakKeyDictionary[Any, tuple[dict[str, Any], str]]
_runs = weakref.WeakKeyDictionary()


def run_identity(model: Any, params: dict[str, Any]) -> str:
    """An identity that all callbacks of one `fit` share, new for each `fit`."""
    known, identity = _runs.get(model, (None, ""))
    if known is not params:
        identity = uuid.uuid4().hex
        _runs[model] = params, identity
    return identity


def end_run(model: Any) -> None:
    """Forgets the run, so that the next `fit` is another in any case."""
    if model is not None:
        _ = _runs.pop(model, None)


class RunLog:
    """Opens the recording of a run, and keeps its facts and logs.

    Where several monitors of a run write to one file, the first of them writes
    the facts and logs.

    Args:
        monitor: Class name of the monitor.
        record_to: File, or `None`.
        model: The model in `fit`.
        params: Parameters of the callback.
        shared: Log of another monitor of the run, whose recording is shared.
        keeps_logs: Whether to keep the logs in memory even if another monitor
            writes them.

    Attributes:
        identity: Identity of the run, which its monitors share.
        recording: What to record to.
        last_step: Steps taken when the last epoch ended.
        has_ended: Whether the `fit` has ended.
        is_whole: Whether the `fit` ended without raising.
    """

    def __init__(
        self,
        monitor: str,
        record_to: str | os.PathLike[str] | None,
        model: Any,
        params: dict[str, Any],
        shared: "RunLog | None" = None,
        keeps_logs: bool = False,
    ) -> None:
        self.identity = run_identity(model, params)
        if shared is not None:
            self.recording = shared.recording_for(monitor)
        else:
            self.recording = Recording(
                # All processes of a distributed run would record the same.
                record_to if _backend.is_main_process(model) else None,
                monitor=monitor,
                run=self.identity,
                on_error="warn",
            )
        self._shared = shared
        # The recordings of monitors that share this log, for each class in the
        # order in which they began; and how many have begun in this `fit`.
        self._others: dict[str, list[Recording]] = {}
        self._begun: dict[str, int] = {}
        self._model: Any = model
        self._params = params
        self._keeps_logs = keeps_logs
        self._has_facts = False
        self._offset: int | None = None
        self._next_epoch: int | None = None  # of a run that is continued
        # Added to the steps of the recording, gives what the optimizer counts.
        self._ahead: int | None = None
        self._noted = 0  # how much more it has counted since
        self.last_step = 0
        self.has_ended = False
        self.is_whole = False

    def begin(self) -> None:
        """Records what is planned, and the facts of a model already built."""
        self._add_facts(planned_facts(self._params))
        if self._model.built:
            self._record_facts()

    @property
    def begun(self) -> bool:
        """Whether an epoch has begun."""
        return self._offset is not None

    def epoch(self, epoch: int) -> int:
        """The number in the recording of an epoch that Keras numbers from 0.

        A `fit` that begins with epoch 0 continues after the epochs in the file.
        A `fit` that begins later, or within epoch 0, resumes the run before it.
        Which of the two applies is known when the first epoch begins: only then
        has `BackupAndRestore` restored what it saved.
        """
        if self._offset is None:
            self._offset = self._begin_epochs(epoch)
        return epoch + self._offset

    def _begin_epochs(self, first: int) -> int:
        recording = self.recording
        if self._shared is not None:
            recording.next_step = self._shared.recording.next_step
            return self._shared.epoch(first) - first
        if self._next_epoch is not None:
            return self._next_epoch - first
        step = steps_taken(self._model.optimizer)
        offset = recording.next_epoch
        facts = model_facts(self._model) if self._model.built else {}
        steps = self._params.get("steps")
        # Any other `fit` that begins with epoch 0 is a new run.
        if first or (
            _backend.was_restored(self._model)
            and recording.broke_off_in_its_first_epoch(step, steps, **facts)
        ):
            offset = recording.resume(
                first, step, steps_per_epoch=steps, **facts
            )
        if step is not None:
            self._ahead = step - recording.next_step
        self._add_facts(
            {
                "initial_epoch": first,
                "first_epoch": first + offset,
                "initial_step": step,
                "first_step": recording.next_step,
            }
        )
        return offset

    def recording_for(self, monitor: str) -> Recording:
        """Recording of another monitor, with the same name in the whole run."""
        others = self._others.setdefault(monitor, [])
        place = self._begun.get(monitor, 0)
        self._begun[monitor] = place + 1
        if place == len(others):
            others.append(self.recording.for_monitor(monitor))
        return others[place]

    def go_on(self, model: Any, params: dict[str, Any]) -> None:
        """Continues the run in another `fit`; see `ModelState`."""
        self.identity = run_identity(model, params)
        self._model, self._params = model, params
        self._begun = {}
        self._offset, self.has_ended, self.is_whole = None, False, False
        if self.recording.is_first:
            self.recording.record_facts({"ended": False})

    def break_off(self) -> None:
        """Lets go of the file of a run whose `fit` raised."""
        self.has_ended = True
        end_run(self._model)
        self.recording.close()

    def forget(self) -> None:
        """Lets go of the model of a run that has ended."""
        if self.has_ended:
            self._model = None

    def end(self) -> None:
        """Records that the run was completed, and lets go of the file."""
        self.has_ended = self.is_whole = True
        if self.recording.is_first:
            self.recording.record_facts({"ended": True})
        self.recording.close()

    def end_epoch(
        self, epoch: int, step: int, logs: dict[str, Any] | None
    ) -> None:
        """Records what `fit` logs.

        Args:
            epoch: As Keras numbers it.
            step: Steps taken so far.
            logs: Logs of the epoch.
        """
        # A model may be built by its first step. A model with its own
        # `train_step` may never be built but still trains.
        if self._model.built or self._model.weights:
            self._record_facts()
        self.last_step = step
        self._next_epoch = self.epoch(epoch) + 1
        self._note_count(self.epoch(epoch), step)
        is_first = self.recording.is_first
        if not is_first and not self._keeps_logs:
            return
        epoch = self.epoch(epoch)
        rows = [(str(key), q.LOG, value) for key, value in (logs or {}).items()]
        rate = getattr(self._model.optimizer, "learning_rate", None)
        if rate is not None and not self._steps_with_others():
            rows.append(("", q.LEARNING_RATE, _backend.on_host(rate)))
        for owner, quantity, value in rows:
            numbers = _numbers(value)
            self.recording.append(
                epoch,
                owner,
                quantity,
                np.full(len(numbers), step),
                numbers,
                index=np.arange(len(numbers)) if len(numbers) > 1 else None,
                monitor=q.FIT,
                is_copy=not is_first,
            )

    def _note_count(self, epoch: int, step: int) -> None:
        """Records how far the optimizer's count is from the steps taken.

        The run may be resumed from there, at a step that only the optimizer
        knows. On TensorFlow it also counts the step that finds no more data; a
        `LossScaleOptimizer` leaves out steps.
        """
        counted = steps_taken(self._model.optimizer)
        if counted and self._ahead is not None:
            ahead = counted - step - self._ahead
            if ahead != self._noted:
                self._noted = ahead
                self._add_facts({"ahead": {"epoch": epoch, "steps": ahead}})

    def _steps_with_others(self) -> bool:
        """Whether other optimizers step while that of `compile` does not."""
        used = self._model.optimizer
        if steps_taken(used):
            return False
        optimizers = _backend.optimizers_of(self._model)
        return any(steps_taken(each) for each in optimizers if each is not used)

    def _record_facts(self) -> None:
        if not self._has_facts:
            self._has_facts = True
            self._add_facts(run_facts(self._model, self._params))

    def _add_facts(self, facts: dict[str, Any]) -> None:
        if self.recording.is_first:
            self.recording.record_facts(facts)
        else:  # they are in the file, but not in this recording
            self.recording.facts.update(facts)


def steps_taken(optimizer: Any) -> int | None:
    """Steps that an optimizer has taken, if it counts them."""
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        return None
    calls = _backend.calls_of_optimizer(optimizer)
    if calls is not None:
        return int(_backend.on_host(calls))
    micro_batches = optimizer.gradient_accumulation_steps or 1
    return micro_batches * int(_backend.on_host(optimizer.iterations))


def _numbers(value: Any) -> np.ndarray:
    """The numbers of a log entry, flat; empty if it is not numeric."""
    if value is None or isinstance(value, str | bytes):
        return np.zeros(0)
    try:
        if keras.ops.is_tensor(value):
            value = _backend.on_host(value)
        return np.ravel(np.asarray(value, np.float64))
    except Exception:  # another callback may log anything
        return np.zeros(0)
