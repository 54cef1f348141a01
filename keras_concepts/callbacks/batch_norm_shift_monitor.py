"""Whether batch normalization does the same at inference as in training."""

import os
from typing import Any, ClassVar

import numpy as np

from keras_concepts import _backend, derived
from keras_concepts import quantities as q
from keras_concepts._validation import check_probe
from keras_concepts.callbacks._monitor import SampledMonitor
from keras_concepts.callbacks._probe import fed_probe, probe_errors
from keras_concepts.instruments.batch_norm.batch_norm_tap import (
    BatchNormSamples,
    BatchNormTap,
    ChannelShifts,
)
from keras_concepts.instruments.batch_norm.capture_batches import (
    batch_norm_layers,
)
from keras_concepts.instruments.batch_norm.training_pass import TrainingPass
from keras_concepts.instruments.model_loss import NoLossError
from keras_concepts.quantities import Quantity


class BatchNormShiftMonitor(SampledMonitor):
    r"""Compares the moving statistics of batch normalization with the batches.

    In training a layer normalizes with the mean and variance of the batch, and
    at inference with their moving averages. If the averages are off, the model
    that is evaluated is not the one that was trained. This happens with too few
    steps for the momentum, after a change of the data, and with very small
    batches.

    For every `keras.layers.BatchNormalization` at any depth (and for
    subclasses), the batch's statistics are taken inside the training step and
    compared, for each channel, with the moving ones as the step found them:

    $$d = \frac{\mu_{moving} - \mu_{batch}}{\sigma_{batch}} \qquad
        r = \log \frac{\sigma^2_{moving}}{\sigma^2_{batch}}$$

    with the layer's `epsilon` in each variance. Weights, optimizer and saved
    files are the same, to the last bit, as without the monitor.

    Recorded once per epoch, at its last measured step, for each layer (the
    owner of a row is its path):

    | quantity | meaning |
    |---|---|
    | `mean_shift` | `d`, mean over the steps; the index is the channel |
    | `log_variance_ratio` | `r`, the same; the index is the channel |
    | `batch_norm_shift` | median over the channels of abs(`mean_shift`) |
    | `batch_norm_variance` | the same for `log_variance_ratio` |
    | `initial_share` | how much of its initial value an average still holds |
    | `calls` | training batches in a step: 2 where a layer is called twice |
    | `frozen` | 1 if `layer.trainable` is `False`, else 0 |

    Both are signed before the mean, so that the noise of small batches averages
    out. Above 1 for the shift, or log 2 for the variance, inference differs
    from what was trained. The initial share is `momentum**k`, with `k` the
    calls since the optimizer was created: at the default momentum 0.82 after 20
    steps, 0.01 after 460. If a trained model is compiled again, its initial
    value is the one it was loaded with, and a large share is not a problem.

    A layer that is frozen (`layer.trainable = False`), that the model calls
    with `training=False`, or that is in a model whose `call` takes no
    `training`, is in inference mode even in training: only its 0 `calls`, and
    whether it is `frozen`, are recorded. With batch renormalization
    (`renorm=True`) the batch's statistics are those that the layer normalizes
    by after its correction.

    Under `tf.distribute` each replica normalizes by its own share of a batch,
    and means over the shares are recorded; for a layer with `synchronized=True`
    the numbers are those of the whole batch (except for masked batches, which
    Keras does not synchronize). The fact `shares` of the run lists the layers
    with shares, and the table notes that there are some.

    And for the run (the owner is `""`):

    | quantity | meaning |
    |---|---|
    | `batch_norm_shift` | of the worst layer, in mean or variance |
    | `training_loss` | loss of the probe, normalized by its own statistics |
    | `inference_loss` | loss of the probe at inference |
    | `inference_gap` | the second minus the first |

    The last three need a `probe`, a loss, and a model that `fit` calls itself.
    Dropout is off in both, so that only batch normalization causes the gap. The
    model is not changed.

    Added to the logs of each epoch, for `History` and for callbacks that come
    *after* the monitor in the list: `batch_norm_shift`, how far the moving
    statistics of the worst layer are off. It is the larger of its
    `batch_norm_shift`, in standard deviations, and its `batch_norm_variance` /
    log 2, the number of times the variance is doubled or halved: 3 is a mean
    that is off by 3 standard deviations, or a variance that is wrong by a
    factor of 8. From 1 on, inference clearly differs from training; NaN if no
    layer is in training mode. Lower is better, so `EarlyStopping` on it needs
    `mode="min"`.

    `summary()` prints the shifts of the last epoch, one line per layer.
    `plot()` draws those of all layers over the epochs, and the gap.

    Args:
        probe: Batch `(x, y)` or `(x, y, sample_weight)`, of the size of a
            training batch or larger; `None` for no gap. If several processes
            train the model on JAX, it must be the same on each.
        every: Measure every n-th step of an epoch, at least 1.
        max_samples: Measure at most this many steps of the first epoch, and
            then at most a sixteenth of an epoch (at least 4 steps), spread
            evenly; the others run at full speed. `None` for all steps selected
            by `every`.
        record_to: File for the recording, appended to after each epoch; missing
            folders are made. See `Recording`.

    Raises:
        TypeError: `every` or `max_samples` is not an integer, or `probe` is
            not a tuple.
        ValueError: `every` or `max_samples` is below 1, `probe` does not have
            two or three parts; or, when `fit` begins, the model has no batch
            normalization, no optimizer or no trainable variable, or cannot be
            called with the `probe`.
        OSError: `record_to` cannot be opened, when `fit` begins. (If it cannot
            be written later, training goes on with a warning.)

    Source: Ioffe & Szegedy (2015), *Batch normalization*, algorithms 1 and 2.

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential(
    ...     [keras.layers.BatchNormalization(), keras.layers.Dense(1)]
    ... )
    >>> model.compile("sgd", "mse")
    >>> x, y = np.array([[1.0], [3.0]] * 32), np.ones((64, 1))
    >>> monitor = kc.callbacks.BatchNormShiftMonitor(probe=(x, y))
    >>> history = model.fit(x, y, shuffle=False, verbose=0, callbacks=[monitor])
    >>> round(history.history["batch_norm_shift"][0], 2)  # after 0 and 1 step
    1.99
    >>> rows = monitor.recording
    >>> round(float(rows.select(quantity="initial_share").value[0]), 2)
    0.98
    """

    log_keys = ("batch_norm_shift",)
    _of_fit: ClassVar[dict[str, Any]] = {"_batch": None, "_pass": None}

    def __init__(
        self,
        probe: Any = None,
        every: int = 1,
        *,
        max_samples: int | None = 32,
        record_to: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(every, max_samples=max_samples, record_to=record_to)
        if probe is not None:
            check_probe("BatchNormShiftMonitor", probe, least=2)
        self.probe = probe
        self._updates_before = 0
        self._batch: Any = None
        self._pass: TrainingPass | None = None

    def _check(self, model: Any) -> None:
        super()._check(model)
        if model.built and not batch_norm_layers(
            _backend.flatten_layers(model)
        ):
            raise ValueError(
                "`BatchNormShiftMonitor` needs a model with a "
                "`keras.layers.BatchNormalization`. Received: model "
                f"{model.name!r} without one."
            )
        self._batch, self._pass = None, None
        if self.probe is not None:
            self._batch = fed_probe(type(self).__name__, model, self.probe)
            # Any other model is built from its data, in its first step.
            if all(layer.built for layer in _backend.flatten_layers(model)):
                _ = self._losses()

    def _begin(self) -> None:
        # Each batch counts, even if several make one update. A model may have
        # its own optimizers: the one with the most steps counts.
        self._updates_before = max(
            (optimizer.gradient_accumulation_steps or 1)
            * int(_backend.on_host(optimizer.iterations))
            for optimizer in _backend.optimizers_of(self.model)
        )

    def _make_tap(self, model: Any, capacity: int) -> BatchNormTap:
        return BatchNormTap(model, capacity=capacity)

    def _record(self, epoch: int, samples: list[Any]) -> dict[str, float]:
        joined = BatchNormSamples.joined(samples)
        step = joined.steps[-1]
        taken = self._observer.steps if self._observer else 0
        worst = np.nan
        shifts = joined.shifts()
        if not shifts:
            self._warn_that(
                "has measured nothing: the model has no BatchNormalization."
            )
        for layer in shifts:
            rows = _rows(layer, self._updates_before + taken)
            for quantity, values in rows.items():
                self.recording.append(
                    epoch,
                    layer.path,
                    quantity,
                    step,
                    values,
                    index=np.arange(len(values))
                    if quantity.indexed_by
                    else None,
                )
            off = derived.moving_statistics_off(
                rows.get(q.BATCH_NORM_SHIFT, np.nan),
                rows.get(q.BATCH_NORM_VARIANCE, np.nan),
            )
            worst = np.fmax(worst, off)
        whole = {q.BATCH_NORM_SHIFT: float(worst)}
        trained = {
            id(layer)
            for layer, shift in zip(joined.layers, shifts, strict=True)
            if shift.calls
        }
        for quantity, value in (whole | self._gap(trained)).items():
            self.recording.append(epoch, "", quantity, step, value)
        return {"batch_norm_shift": float(worst)}

    def _stop(self) -> None:
        super()._stop()
        self._batch, self._pass = None, None  # they refer to the model

    def _gap(self, trained: set[int]) -> dict[Quantity, float]:
        """Loss of the probe in both modes, and their difference.

        Args:
            trained: `id` of the layers that took the statistics of the batch
                in the training steps.
        """
        if self._batch is None:
            return {}
        if not self.model.built:
            self._warn_that(
                "cannot use its `probe`, since `fit` has not called the model "
                "itself (does its own `train_step` call its layers?). Call the "
                "model on a batch before `fit`."
            )
            return {}
        losses = self._losses()
        if losses is None or self._pass is None:
            return {}
        training, inference = losses
        if self._pass.used[True] != trained:
            self._warn_that(
                "records no losses of its `probe`: the layers that use batch "
                "statistics in the training step are not those that use them "
                "when the model is called with `training=True`. Does its own "
                "`train_step` call them in another mode?"
            )
            return {}
        return {
            q.TRAINING_LOSS: training,
            q.INFERENCE_LOSS: inference,
            q.INFERENCE_GAP: inference - training,
        }

    def _losses(self) -> tuple[float, float] | None:
        """Losses in training mode and at inference, `None` without a loss."""
        if self._batch is None:
            return None
        if self._pass is None:
            self._pass = TrainingPass(self.model)
        try:
            with probe_errors(type(self).__name__):
                training, inference = (
                    float(self._pass.loss(*self._batch, training=mode))
                    for mode in (True, False)
                )
        except NoLossError:
            self._warn_that(
                "records no losses of its `probe`: the model was compiled "
                "without a loss."
            )
            self._batch = None
            return None
        return training, inference


def _rows(layer: ChannelShifts, updates: int) -> dict[Quantity, Any]:
    """What to record for a layer; for one in inference mode only its mode."""
    mode = {q.CALLS: layer.calls, q.FROZEN: float(layer.frozen)}
    if not layer.calls:
        return mode
    return {
        q.MEAN_SHIFT: layer.mean_shift,
        q.LOG_VARIANCE_RATIO: layer.log_variance_ratio,
        q.BATCH_NORM_SHIFT: np.median(np.abs(layer.mean_shift)),
        q.BATCH_NORM_VARIANCE: np.median(np.abs(layer.log_variance_ratio)),
        q.INITIAL_SHARE: layer.momentum ** (layer.calls * updates),
        **mode,
    }
