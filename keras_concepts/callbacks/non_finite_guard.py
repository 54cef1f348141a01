"""Where a NaN came from."""

import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._shown_as_text import beside_progress_bar, show_text
from keras_concepts._validation import (
    check_positive_int,
    checked_bool,
    checked_callable,
)
from keras_concepts.callbacks._monitor import StepMonitor
from keras_concepts.instruments.non_finite.fault import Fault
from keras_concepts.instruments.non_finite.non_finite_tap import (
    NonFiniteSamples,
    NonFiniteTap,
)
from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.instruments.step.step_observer import StepObserver
from keras_concepts.rules.finding import Finding

# From a scale of 2^15 down to 2^-25: no finite value would need that.
_MOST_SKIPS = 40
_FAULTS = {
    "input": q.NON_FINITE_INPUT,
    "activation": q.NON_FINITE_ACTIVATION,
    str(q.PENALTY): q.NON_FINITE_PENALTY,
    "loss": q.NON_FINITE_LOSS,
    "gradient": q.NON_FINITE_GRADIENT,
    "weight": q.NON_FINITE_WEIGHT,
}


@dataclasses.dataclass(frozen=True)
class NonFinite:
    """The first NaN or infinity of a training run.

    Attributes:
        step: Counted from 0 over the whole training.
        epoch: Counted from 0.
        batch: Counted from 0 in the epoch.
        kind: `"input"`, `"activation"`, `"penalty"`, `"loss"`, `"gradient"` or
            `"weight"`.
        layer: Path of the layer or variable, name of an operation, `"x"`, `"y"`
            or `"sample_weight"`; `""` for the loss.
        count: Number of entries that were not finite.
        message: All of this in one sentence, with epochs and batches counted
            from 1, as Keras prints them.
    """

    step: int
    epoch: int
    batch: int
    kind: str
    layer: str
    count: int
    message: str

    _repr_pretty_ = show_text

    def __str__(self) -> str:
        return self.message

    def to_finding(self) -> Finding:
        """The same as a finding of the doctor."""
        fault = Fault(self.kind, self.layer, self.count, self.message)
        return fault.to_finding((self.epoch, self.step))


class NonFiniteGuard(StepMonitor):
    """Names the first step, layer and kind of a NaN or infinity.

    If several values in a step are not finite, the first in the order of
    computation is named: inputs and labels, activations in the order of the
    calls, penalties, the loss, gradients from the last layer to the first,
    weights. Each step is checked on the device, inside the compiled step. Only
    if it fails, the batch runs through the model once more, with the weights
    from before the step, to find the layer. A NaN that never reaches the loss,
    gradients or weights is harmless and not reported.

    The host reads the result every `check_every` steps and at the end of each
    epoch: the step is exact, but the message is late by up to that much. With
    `before_update=True` the host checks after every step and undoes each bad
    one: model, optimizer and metrics are as they were before it. This costs a
    copy of all of them, and waits for the device at each step.

    Steps that a `LossScaleOptimizer` skips because gradients overflow raise no
    alarm, unless there are 40 in a row. A layer whose `call` Keras runs in a
    separate trace (`keras.remat`) is not seen: the message then names the step,
    and the loss or gradient where the fault appeared, but no layer. A mask of
    `-inf` that your own attention layer adds counts as an activation if the
    step fails for another reason.

    With `steps_per_execution`, `before_update` undoes all steps of the
    execution. Under `tf.distribute` the shares of all replicas are checked, and
    counts are sums over them; if a layer is synchronized between replicas, no
    layer can be named.

    Recorded once per epoch, at its last step, for the run (the owner of a row
    is `""`): `batch_loss`, `checked_steps`, `skipped_steps`. And for the first
    fault, at its step, the number of its NaN or infinite entries:
    `non_finite_input`, `non_finite_activation`, `non_finite_penalty`,
    `non_finite_loss`, `non_finite_gradient` or `non_finite_weight`; and
    `non_finite_batch`, the batch within its epoch, from 0. (To inspect that
    batch afterwards, do not shuffle.)

    `summary()` prints what was checked in each epoch, and what was found.
    `plot()` draws the loss at the end of each epoch, and the first fault.

    Args:
        stop: Whether to stop training.
        before_update: Whether to undo a bad update of the weights.
        check_every: Number of steps between checks by the host, at least 1.
            Ignored with `before_update=True`.
        record_to: File for the recording; missing folders are made.
        sink: Called with the message, only for the first fault.

    Attributes:
        found: `NonFinite`, or `None` while everything is finite.

    Raises:
        TypeError: `check_every` is not an integer.
        ValueError: `check_every` is below 1; or, when `fit` begins, the model
            has no optimizer or no trainable variable.
        OSError: `record_to` cannot be opened, when `fit` begins. (If it cannot
            be written later, training goes on with a warning.)

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential([keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> guard = kc.callbacks.NonFiniteGuard(sink=lambda message: None)
    >>> x = np.ones((64, 4))
    >>> x[40, 2] = np.nan
    >>> fitted = model.fit(
    ...     x, x[:, :1], shuffle=False, verbose=0, callbacks=[guard]
    ... )
    >>> guard.found.step, guard.found.kind, guard.found.layer
    (1, 'input', 'x')
    """

    def __init__(
        self,
        stop: bool = True,
        *,
        before_update: bool = False,
        check_every: int = 100,
        record_to: str | os.PathLike[str] | None = None,
        sink: Callable[[str], Any] = print,
    ) -> None:
        super().__init__(record_to=record_to)
        check_positive_int("NonFiniteGuard", "check_every", check_every)
        owner = "NonFiniteGuard"
        self.stop = checked_bool(owner, "stop", stop)
        self.before_update = checked_bool(owner, "before_update", before_update)
        self.check_every = check_every
        self.sink = checked_callable(owner, "sink", sink)
        self.found: NonFinite | None = None

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        super().on_epoch_begin(epoch, logs)
        self._epoch = epoch
        self._checked = self._skipped = 0

    def look(self) -> None:
        """Reads the steps that were checked since the last call."""
        if self._observer is not None:
            for samples in self._observer.read():
                self._look(samples)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        if self._observer is None or self._log is None:
            return
        self.look()
        self._end_log_epoch(epoch, logs)
        epoch = self._log.epoch(epoch)
        if self._checked:
            for quantity, value in (
                (q.BATCH_LOSS, self._loss),
                (q.CHECKED_STEPS, self._checked),
                (q.SKIPPED_STEPS, self._skipped),
            ):
                self.recording.append(epoch, "", quantity, self._step, value)
        self.recording.flush()

    def _begin(self) -> None:
        self.found = None
        self._step = -1
        self._loss = np.nan
        self._skips_in_a_row = 0

    def _make_observer(self, model: Any) -> StepObserver[NonFiniteSamples]:
        steps = 1 if self.before_update else self.check_every
        capacity = max(steps, model.steps_per_execution)
        make_tap = functools.partial(NonFiniteTap, model, capacity=capacity)
        return StepObserver(
            type(self).__name__,
            make_tap(),
            Schedule(),
            first_step=self.recording.next_step,
            when_full=self._look,
            can_reject=self.before_update,
            make_tap=make_tap,
        )

    def _look(self, samples: NonFiniteSamples) -> None:
        """Judges consecutive steps, and remembers the last."""
        bad = False
        for step, loss, skipped, fault in zip(*samples, strict=True):
            self._step, self._loss = int(step), float(loss)
            self._checked += 1
            self._skipped += bool(skipped)
            self._skips_in_a_row = (self._skips_in_a_row + 1) * bool(skipped)
            alarm = not skipped or self._skips_in_a_row >= _MOST_SKIPS
            if fault is not None and alarm:
                bad = True
                if self.found is None:
                    self._alarm(int(step), fault)
        if self._observer is not None:
            self._observer.rejects = bad and self.before_update

    def _alarm(self, step: int, fault: Fault) -> None:
        observer, log = self._observer, self._log
        if observer is None or log is None:
            return
        epoch = log.epoch(self._epoch)
        batch = step - observer.epoch_start
        message = (
            f"NonFiniteGuard: first non-finite value at step {step} (epoch "
            f"{self._epoch + 1}, batch {batch + 1}): {fault.where}."
        )
        if self._skips_in_a_row:
            message += f" Loss scaling skipped {_MOST_SKIPS} steps in a row."
        if self.before_update:
            message += " The weights are as they were before that step."
        if self.stop:
            self._trained.stop_training = True
            message += " Training was stopped."
        self.found = NonFinite(
            step,
            self._epoch,
            batch,
            fault.kind,
            fault.layer,
            fault.count,
            message,
        )
        for layer, quantity, value in (
            (fault.layer, _FAULTS[fault.kind], fault.count),
            ("", q.NON_FINITE_BATCH, batch),
        ):
            self.recording.append(epoch, layer, quantity, step, value)
        self.recording.flush()
        _ = beside_progress_bar(self.sink, self.params)(message)
