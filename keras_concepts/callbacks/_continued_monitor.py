"""A training run that consists of several calls of `fit`."""

from typing import Any, ClassVar

from keras_concepts.callbacks._callback_list import put_in_order
from keras_concepts.callbacks._monitor import Monitor
from keras_concepts.callbacks._unfinished_run import (
    UnfinishedRun,
    unfinished_run,
)
from keras_concepts.instruments.step.callback_lists import callbacks_of_fit
from keras_concepts.instruments.step.end_of_fit import EndOfFit

# A loop of a thousand calls would write a thousand lists of the epochs after
# which they began. What is planned follows from the last one, so one that is
# larger by less than this share is left out.
_LEAST_GROWTH = 1 / 16


class ContinuedMonitor(Monitor):
    """A monitor whose run may go on in another `fit` of the same model.

    The caller of `fit` must announce that: `go_on_with` before the call,
    `suspend` after it, `break_off` if it raised, and `conclude` if no other
    call will follow.

    A subclass calls `_begin_fits` where a run begins and `_go_on` where one is
    continued, and counts `_epochs`.

    Args:
        record_to: File for the recording.
    """

    _goes_on = False  # in the `fit` that begins next
    _first_epoch = 0  # of the running `fit`
    _of_fit: ClassVar[dict[str, Any]] = {"_begun_at": []}

    def _begin_fits(self) -> None:
        self._epochs = 0  # epochs that have ended
        # After how many epochs each `fit` began that continued the run.
        self._begun_at: list[int] = []

    @property
    def has_begun(self) -> bool:
        """Whether a `fit` has begun for this monitor."""
        return self._log is not None

    def suspend(self, model: Any) -> None:
        """Lets go of the model after a `fit`; see `go_on_with`.

        What another `fit` will need is stored on the model, so that keeping the
        monitor does not keep the model alive.

        Args:
            model: The model in that `fit`.
        """
        log = self._log
        if log is None or self._goes_on:  # `fit` raised before it began
            return
        kept = self._let_go()
        if log.is_whole:
            _ = UnfinishedRun(self, model, kept)
        log.forget()
        self.set_model(None)

    def go_on_with(self, model: Any) -> bool:
        """Lets the next `fit` of a model continue the run that has ended.

        A loop that calls `fit` for one epoch at a time is one training run.

        Args:
            model: The model in the next `fit`.

        Returns:
            Whether the run is continued: the model is the same, with the same
            optimizer and loss, and has not been trained in the meantime.
        """
        left = unfinished_run(self, model)
        self._goes_on = left is not None and left.goes_on()
        return self._goes_on

    def _go_on(self) -> None:
        """Begins a `fit` that continues the last run."""
        self._goes_on = False
        left = unfinished_run(self, self.model)
        if self._log is None or left is None:
            return
        self._take_back(left.kept)
        left.forget()
        callbacks = callbacks_of_fit()
        if callbacks is not None:
            put_in_order(callbacks, self)
            EndOfFit.of(callbacks).then(self.break_off)
        if self._epochs:  # otherwise it still has to begin
            self.recording.next_step = self._log.last_step
            self._begun_at.append(self._epochs)
        self._log.go_on(self.model, self.params)
        self._record_beginning()

    def _record_beginning(self) -> None:
        """Records after how many epochs a `fit` begins that continues the run.

        `Training.planned_epochs` reads it, also when the run is replayed.
        """
        begun = self.recording.facts.get("continued", [])
        last = begun[-1] if begun else 0
        if self._epochs - last >= max(1, _LEAST_GROWTH * last):
            self.recording.record_facts({"continued": [*begun, self._epochs]})

    def conclude(self) -> None:
        """Ends a run that no other `fit` has continued after all."""
        raise NotImplementedError

    def break_off(self) -> None:
        """Ends a run that `fit` did not end, because it raised."""
        if self._log is not None:
            self._break_off(self._log)

    def _planned_epochs(self) -> int:
        if self._begun_at:
            return 2 * self._begun_at[-1]
        return max(int(self.params.get("epochs") or 1) - self._first_epoch, 1)

    def _let_go(self) -> Any:
        """Gives up what holds the model; returns what another `fit` needs."""
        raise NotImplementedError

    def _take_back(self, kept: Any) -> None:
        """Takes back what `_let_go` returned."""
        raise NotImplementedError
