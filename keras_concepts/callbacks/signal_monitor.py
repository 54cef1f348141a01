"""Activations and error signals of every layer, epoch by epoch."""

import os
import warnings
from typing import Any, ClassVar

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._validation import (
    check_positive_int,
    check_probe,
    checked_bool,
)
from keras_concepts.callbacks._monitor import Monitor
from keras_concepts.callbacks._probe import fed_probe, probe_errors
from keras_concepts.instruments.model_loss import NoLossError
from keras_concepts.instruments.signals.forward_probe import ForwardProbe
from keras_concepts.instruments.signals.signal_summary import SignalSummary
from keras_concepts.instruments.step.execution_count import ExecutionCount
from keras_concepts.quantities import Quantity
from keras_concepts.recording import Recording

# Layers that are never built.
_TABLES = (keras.layers.IntegerLookup, keras.layers.StringLookup)


class SignalMonitor(Monitor):
    """Records the signals through every layer, forward and back, on one batch.

    Before training (if the model is built) and after its epochs, one pass of
    the probe batch gives each layer's activations and its error signal: dL/da,
    which back-propagation carries to its output (`instruments.forward_probe`).
    Using the same batch each time makes epochs comparable. The model trains
    exactly as without the monitor, to the last bit.

    Recorded for each layer that has weights or an activation function, over all
    samples and positions except padding (the owner of a row is the layer's
    path):

    | quantity | meaning |
    |---|---|
    | `activation_mean`, `activation_std`, `activation_rms` | of all entries |
    | `zero_share` | share of entries that are exactly 0, from 0 to 1 |
    | `units` | size of the last axis, or of the channel axis |
    | `zero_activation_units` | number of units that are 0 in every sample |
    | `saturated_units` | how many have a nearly flat activation function |
    | `error_rms` | root mean square of dL/da, of all outputs that are read |
    | `error_attenuation` | `error_rms` over that of the last layer |

    If a layer has several outputs, the activation is the first one. Its error
    is that of all outputs that the loss depends on: for an encoder read by its
    states, that of the states. In attention each head's entries are units.

    A unit is saturated if, in more than 90 % of the samples, the slope of its
    activation function is less than 5 % of the steepest it can be. At an output
    of the model with an activation function the error is dL/dz, before the
    function.

    For a SimpleRNN, LSTM or GRU also:

    | quantity | meaning |
    |---|---|
    | `state_error_rms` | root mean square of dL/dh_t, in an LSTM of dL/dc_t |
    | `hidden_error_rms` | in an LSTM, that of dL/dh_t |
    | `memory_horizon` | steps back with 1 % of the largest `state_error_rms` |
    | `forget_gate_mean`, `update_gate_mean` | of the gate that keeps h or c |
    | `saturated_gate_units` | number of units with a saturated gate |

    `state_error_rms` is the gradient through time, with respect to what carries
    the memory: the state h, in an LSTM the carry c. It has a row for each lag,
    which is the index: 0 is the last step that the layer reads. The horizon
    cannot exceed the length of the sequences. A gate with mean `g` keeps a
    state for about `1 / (1 - g)` steps.

    Each counted unit has a row `zero_activation_unit`, `saturated_unit` or
    `saturated_gate_unit`, whose index is the unit. All calls of a shared layer,
    and all time steps inside `TimeDistributed`, are samples of one layer. The
    run (the owner is `""`) has the `probe_loss`. The step of a row is the
    number of steps taken so far, and its epoch is the one that has ended: -1
    before the first of each `fit`.

    Added to the logs of each measured epoch, for callbacks that come later in
    the list: `error_attenuation`, the error of the first layer over that of the
    last; `saturated_units`, the sum over all layers; and `memory_horizon`, the
    shortest, if there is a recurrent layer.

    If every step of a sequence has its own loss, or another recurrent layer
    reads all of its states, every state has a short path to a loss, and the
    horizon does not show how far back the layer reads.

    `summary()` prints the last measurement as a table, one line per layer.
    `plot()` draws error signals and activations, layers over epochs, and for
    recurrent layers the gradient through time, steps over epochs.

    Args:
        probe: `(x, y)` or `(x, y, sample_weight)` as for `fit`, one batch of a
            few hundred rows: enough to call a unit dead. With `(x,)` or
            `(x, None)` there are only activations. If several processes train
            the model on JAX, it must be the same on each.
        every_epochs: Measure after every n-th epoch, at least 1.
        training: Whether the layers behave as in training, with batch
            statistics and dropout (the same units each time), or as at
            inference.
        record_to: File for the recording, appended to after each measurement.
            See `Recording`.
        every: Earlier name of `every_epochs`.

    Raises:
        TypeError: `every_epochs` is not an integer, or `probe` is not a tuple.
        ValueError: `every_epochs` is below 1, or `probe` does not have one to
            three parts; or, when `fit` begins, the model cannot be called with
            it.
        OSError: `record_to` cannot be opened, when `fit` begins. (If it cannot
            be written later, training goes on with a warning.)

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((4,)),
    ...         keras.layers.Dense(8, "relu"),
    ...         keras.layers.Dense(1),
    ...     ]
    ... )
    >>> model.compile("adam", "mse")
    >>> x, y = np.ones((64, 4)), np.ones((64, 1))
    >>> monitor = kc.callbacks.SignalMonitor(probe=(x, y))
    >>> history = model.fit(x, y, verbose=0, callbacks=[monitor])
    >>> sorted(history.history)
    ['error_attenuation', 'loss', 'saturated_units']
    >>> monitor.recording.select(quantity="units").value.tolist()
    [8.0, 1.0, 8.0, 1.0]
    """

    log_keys = ("error_attenuation", "saturated_units", "memory_horizon")
    # Its batch hook reads neither logs nor model. Keras may call it from
    # several threads and in any order, but before the epoch ends.
    async_safe = True
    _of_fit: ClassVar[dict[str, Any]] = {
        "_batch": None,
        "_probe": None,
        "_count": None,
    }

    def __init__(
        self,
        probe: Any,
        every_epochs: int = 1,
        *,
        training: bool = True,
        record_to: str | os.PathLike[str] | None = None,
        every: int | None = None,
    ) -> None:
        super().__init__(record_to=record_to)
        if every is not None:
            warnings.warn(
                "`every` of `SignalMonitor` counts epochs and is now called "
                "`every_epochs`; the old name will be removed in the next "
                "version.",
                DeprecationWarning,
                stacklevel=2,
            )
            every_epochs = every
        check_positive_int(type(self).__name__, "every_epochs", every_epochs)
        check_probe("SignalMonitor", probe)
        self.probe = probe
        self.every_epochs = every_epochs
        self.every = every
        self.training = checked_bool("SignalMonitor", "training", training)
        self._batch: Any = None
        self._probe: ForwardProbe | None = None
        self._summary = SignalSummary()
        self._step = 0
        self._taken: list[int] = [0]
        self._count: ExecutionCount | None = None
        self._epochs = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        if self._is_listed_again():
            return
        batch = fed_probe(type(self).__name__, self.model, self.probe)
        self._log = self._open_log(self.model)
        self._batch, self._probe = batch, None
        self._epochs = 0

    def on_epoch_begin(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._taken = [0]
        self._count = ExecutionCount(self.model)
        self._count.begin_epoch()
        if self._epochs == 0 and self._log is not None:
            _ = self._log.epoch(epoch)
            self._step = self.recording.next_step
            # Any other model is built from its data, in its first step.
            layers = _backend.flatten_layers(self.model)
            if all(x.built or isinstance(x, _TABLES) for x in layers):
                _ = self._measure(-1)

    def on_train_batch_end(
        self, batch: int, logs: dict[str, Any] | None = None
    ) -> None:
        self._taken.append(batch + 1)

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        counted = max(self._taken)
        taken = self._count.taken(counted) if self._count else None
        if taken is None:
            taken = min(counted, self.params.get("steps") or counted)
        self._step += taken
        self._epochs += 1
        if self._log is None:
            return
        self._log.end_epoch(epoch, self._step, logs)
        if self._epochs % self.every_epochs == 0:
            values = self._measure(self._log.epoch(epoch))
            if logs is not None:
                logs.update(values)
        self.recording.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        super().on_train_end(logs)
        self._stop()

    def _stop(self) -> None:
        # They refer to the model.
        self._batch, self._probe, self._count = None, None, None

    def _measure(self, epoch: int) -> dict[str, float]:
        if self._batch is None:
            return {}
        if not self.model.built:
            self._warn_that(
                "measured nothing, since `fit` has not called the model itself "
                "(does its own `train_step` call its layers?). Call the model "
                "on a batch before `fit`."
            )
            return {}
        with probe_errors(type(self).__name__):
            passed = self._passed()
            rows = self._summary.rows(passed)
        record_signals(self.recording, epoch, self._step, rows)
        self.recording.flush()
        return _log_values([rows[layer] for layer in rows if layer])

    def _passed(self) -> Any:
        if self._probe is None:
            self._probe = self._made(*self._batch)
        try:
            return self._probe()
        except NoLossError:
            self._warn_that(
                "measures activations but no error signals: its `probe` has "
                "labels, but the model was compiled without a loss."
            )
            self._batch = (self._batch[0], None, None)
            self._probe = self._made(*self._batch)
            return self._probe()

    def _made(self, x: Any, y: Any, sample_weight: Any) -> ForwardProbe:
        self._summary = SignalSummary()
        return ForwardProbe(
            self.model,
            x,
            y,
            sample_weight,
            training=self.training,
            reduce=self._summary.reduce,
        )


def record_signals(
    recording: Recording,
    epoch: int,
    step: int,
    rows: dict[str, dict[Quantity, np.ndarray]],
    monitor: str | None = None,
) -> None:
    """Records the rows that a `SignalSummary` made from a pass.

    Args:
        recording: Recording to append to.
        epoch: Epoch that has ended, -1 before the first.
        step: Steps taken so far.
        rows: Rows from `SignalSummary.rows`.
        monitor: Name of the monitor, by default the recording's.
    """
    for layer, quantities in rows.items():
        for quantity, values in quantities.items():
            index = None
            if quantity.indexed_by == "unit":
                index, values = values, np.ones(len(values))
            elif quantity.indexed_by:
                index = np.arange(len(values))
            recording.append(
                epoch,
                layer,
                quantity,
                step,
                values,
                index=index,
                monitor=monitor,
            )


def _log_values(layers: list[dict[Quantity, np.ndarray]]) -> dict[str, float]:
    def of_all(quantity: Quantity) -> list[float]:
        return [float(x[quantity][0]) for x in layers if quantity in x]

    values = {}
    if attenuation := of_all(q.ERROR_ATTENUATION):
        values["error_attenuation"] = attenuation[0]
    if saturated := of_all(q.SATURATED_UNITS):
        values["saturated_units"] = sum(saturated)
    if horizons := of_all(q.MEMORY_HORIZON):
        values["memory_horizon"] = min(horizons)
    return values
