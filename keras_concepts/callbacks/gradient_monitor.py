"""Gradients of every layer while the model trains."""

import dataclasses
import math
import os
from typing import Any, ClassVar

import keras
import numpy as np

from keras_concepts import _backend, derived
from keras_concepts import quantities as q
from keras_concepts._validation import checked_path
from keras_concepts.callbacks._monitor import SampledMonitor
from keras_concepts.instruments.gradients.gradient_tap import (
    GradientSamples,
    GradientTap,
)
from keras_concepts.instruments.gradients.statistics import (
    GRADIENT_COLUMNS,
    WEIGHT_COLUMNS,
)
from keras_concepts.recording import Recording

# Steps needed to call a unit dead.
_ENOUGH_STEPS = 32


class GradientMonitor(SampledMonitor):
    """Records the gradients that the optimizer receives during `fit`.

    The numbers are the actual gradients of each batch, reduced to a few values
    per variable inside the training step: before clipping, with loss scaling
    divided out. Nothing is computed twice, and weights, optimizer and saved
    files are the same, to the last bit, as without the monitor.

    Recorded for each measured step and trainable variable (the owner of a row
    is the variable's path):

    | quantity | meaning |
    |---|---|
    | `gradient_rms` | root mean square of the gradient's entries |
    | `gradient_max` | largest absolute entry |
    | `gradient_nonfinite` | number of NaN and infinite entries |
    | `weight_rms` | root mean square of the variable before the step |
    | `update_rms` | root mean square of the change the step made to it |

    for each measured step of the run (the owner is `""`):

    | quantity | meaning |
    |---|---|
    | `batch_loss` | loss of the step's batch, penalties included |
    | `gradient_norm` | L2 norm of all gradients together |
    | `applied` | 1 if the step changed the weights, else 0 |

    and once per epoch for each layer whose units are known:

    | quantity | meaning |
    |---|---|
    | `units` | number of units |
    | `zero_gradient_units` | how many had no gradient in any measured step |
    | `zero_gradient_unit` | 1 for each of them; the index is the unit |

    Steps that do not change weights are micro-batches that are only
    accumulated, and those that loss scaling skips. A unit has no gradient if
    the gradient of its weights is exactly zero in all measured steps of the
    epoch, and of earlier epochs as long as these are fewer than 32 steps. A
    unit is an entry of the output's last axis, or a channel; in `EinsumDense`
    and attention, each head's entries count. The units of Keras' dense,
    convolutional and embedding layers are known, also with LoRA, and those of
    other layers if exactly one axis of each of their weights has the size of
    the output, and the input has another size. Recurrent layers, whose columns
    are gates, have no such number, nor do layers whose regularizers hide the
    zeros.

    Under `tf.distribute` the gradients are the sum over all replicas, before
    clipping, and the loss is that of the whole batch.

    Added to the logs of each epoch, for `History`, and for `CSVLogger`,
    `EarlyStopping`, `ModelCheckpoint` and `TensorBoard` if they come *after*
    the monitor in the list of callbacks:

    - `gradient_norm`: mean over the measured steps.
    - `gradient_attenuation`: RMS gradient of the first layer's weights divided
      by that of the last layer's, median over the steps in which both are
      finite. Far below 1, little reaches the first layers. Only models with two
      or more such layers have it.
    - `dead_units`: number of units whose gradient was zero for the whole epoch,
      in layers whose units are known.
    - `update_ratio`: RMS update divided by RMS weight, median over steps and
      weights; about 1e-3 is usual.

    Weights are matrices, filters and embeddings (with LoRA, its two matrices),
    whatever their names, but not biases and scales. The first layer is the one
    that the model calls first. Queries and keys of attention do not count as
    first or last: their gradient is naturally tiny. In an embedding, rows that
    a batch does not use count as zeros.

    `summary()` prints the last epoch as a table, one line per variable.
    `plot()` draws RMS gradients: layers over steps, and the first and last
    layer as curves.

    Args:
        every: Measure every n-th step of an epoch, at least 1.
        max_samples: Measure at most this many steps of the first epoch, and
            then at most a sixteenth of an epoch (at least 4 steps), spread
            evenly; the others run at full speed. `None` measures every step
            selected by `every`.
        record_to: File for the recording, appended to after each epoch;
            missing folders are made. See `Recording`.
        tensorboard: Folder for event files that TensorBoard opens. Needs the
            extra `keras-concepts[tensorboard]`, not TensorFlow.

    Raises:
        TypeError: `every` or `max_samples` is not an integer.
        ValueError: `every` or `max_samples` is below 1; or, when `fit` begins,
            the model has no optimizer or no trainable variable.
        OSError: `record_to` cannot be opened, when `fit` begins. (If it cannot
            be written later, training goes on with a warning.)

    Example:

    >>> import keras, numpy as np
    >>> import keras_concepts as kc
    >>> model = keras.Sequential(
    ...     [keras.layers.Dense(8, "relu"), keras.layers.Dense(1)]
    ... )
    >>> model.compile("adam", "mse")
    >>> monitor = kc.callbacks.GradientMonitor()
    >>> x, y = np.ones((64, 4)), np.ones((64, 1))
    >>> history = model.fit(x, y, verbose=0, callbacks=[monitor])
    >>> sorted(history.history)[:2]
    ['dead_units', 'gradient_attenuation']
    >>> monitor.recording.select(owner="*/kernel").quantities[:2]
    ['gradient_rms', 'gradient_max']
    """

    log_keys = (
        "gradient_norm",
        "gradient_attenuation",
        "dead_units",
        "update_ratio",
    )
    _of_fit: ClassVar[dict[str, Any]] = {"_writer": None, "_recent": []}

    def __init__(
        self,
        every: int = 1,
        *,
        max_samples: int | None = 32,
        record_to: str | os.PathLike[str] | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__(every, max_samples=max_samples, record_to=record_to)
        self.tensorboard = checked_path(
            "GradientMonitor", "tensorboard", tensorboard
        )
        self._writer: Any = None
        self._recent: list[GradientSamples] = []

    def _begin(self) -> None:
        if self.tensorboard is not None:
            from keras_concepts.reports import TensorBoardWriter

            self._writer = TensorBoardWriter(self.tensorboard)

    def _make_tap(self, model: Any, capacity: int) -> GradientTap:
        return GradientTap(model.optimizer, model=model, capacity=capacity)

    def _record(self, epoch: int, samples: list[Any]) -> dict[str, float]:
        joined = self._with_recent_peaks(GradientSamples.joined(samples))
        _record(self.recording, epoch, joined)
        if self._writer is not None:
            self._writer.write(self.recording)
        scales = any(
            isinstance(each, keras.optimizers.LossScaleOptimizer)
            for each in _backend.optimizers_of(self._trained)
        )
        return _log_values(joined, scales)

    def _with_recent_peaks(self, samples: GradientSamples) -> GradientSamples:
        """Judges units only after enough steps: a few may miss a live one."""
        self._recent.append(samples)
        while sum(len(s.steps) for s in self._recent[1:]) >= _ENOUGH_STEPS:
            del self._recent[0]
        same = [s for s in self._recent if s.paths == samples.paths]
        joined = GradientSamples.joined(same)
        return dataclasses.replace(samples, unit_peaks=joined.unit_peaks)

    def _stop(self) -> None:
        super()._stop()
        self._recent = []
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _record(recording: Recording, epoch: int, samples: GradientSamples) -> None:
    steps = samples.steps
    recording.append(epoch, "", q.BATCH_LOSS, steps, samples.loss)
    recording.append(epoch, "", q.GRADIENT_NORM, steps, samples.global_norm)
    recording.append(epoch, "", q.APPLIED, steps, samples.applied)
    for i, path in enumerate(samples.paths):
        for quantity in GRADIENT_COLUMNS + WEIGHT_COLUMNS:
            values = samples.quantity(quantity)[:, i]
            recording.append(epoch, path, quantity, steps, values)
    for layer, dead in samples.dead_units.items():
        last, units = steps[-1], len(samples.unit_peaks[layer])
        recording.append(epoch, layer, q.UNITS, last, units)
        recording.append(epoch, layer, q.ZERO_GRADIENT_UNITS, last, len(dead))
        recording.append(
            epoch,
            layer,
            q.ZERO_GRADIENT_UNIT,
            last,
            np.ones(len(dead)),
            index=dead,
        )


def _log_values(samples: GradientSamples, scales: bool) -> dict[str, float]:
    norm = samples.global_norm
    norm = norm[~np.isnan(samples.quantity(q.GRADIENT_RMS)).all(axis=1)]
    if scales:
        # Loss scaling causes overflows on purpose and skips those steps.
        norm = norm[np.isfinite(norm)]
    values = {"gradient_norm": float(np.mean(norm)) if len(norm) else math.nan}
    if samples.unit_peaks:
        dead = samples.dead_units.values()
        values["dead_units"] = float(sum(map(len, dead))) if dead else math.nan
    rms = samples.quantity(q.GRADIENT_RMS)
    given = np.flatnonzero(~np.isnan(rms).all(axis=0))
    if not len(given):  # no gradient is known at all
        given = np.arange(len(samples.paths))
    paths = [samples.paths[i] for i in given]
    of = {
        "layers": [samples.layers[i] for i in given],
        "roles": [samples.roles[i] for i in given],
    }
    if derived.count_layers(paths, **of) > 1:
        values["gradient_attenuation"] = derived.attenuation(
            paths, rms[:, given].T, sizes=samples.sizes[given], **of
        )
    matrices = [
        i for i, x in enumerate(samples.roles) if x in (q.WEIGHT, q.SCORE)
    ]
    if matrices:
        applied = samples.applied > 0
        values["update_ratio"] = derived.median_ratio(
            samples.quantity(q.UPDATE_RMS)[applied][:, matrices],
            samples.quantity(q.WEIGHT_RMS)[applied][:, matrices],
        )
    return values
