"""Batch normalization that measures how far off its moving statistics are."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.batch_statistics import (
    batch_against_moving,
    is_training,
)
from keras_concepts._numerics.words import add_to, total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_int, checked_number
from keras_concepts.layers._measured import measured_variable


class BatchNormStatistics(NamedTuple):
    """Batch statistics compared with moving ones, float64.

    All arrays are of shape `(channels,)`, NaN where no batch was seen.

    Attributes:
        batches: Number of training batches.
        mean_shift: `(μ_moving - μ_batch) / σ_batch`, mean over the batches.
        log_variance_ratio: `log(σ²_moving / σ²_batch)`, mean over the batches.
        initial_share: How much of their value before the first of these batches
            remains in the moving statistics: `momentum**batches`.
    """

    batches: int
    mean_shift: np.ndarray
    log_variance_ratio: np.ndarray
    initial_share: float


# Keras stores the weights of a layer under the name of its class, so this class
# has the name of the plain layer, whose files it reads and writes.
@serializable
class BatchNormalization(keras.layers.BatchNormalization):
    r"""`keras.layers.BatchNormalization` that measures its own shift.

    In training the layer normalizes with the mean and variance of the batch,
    and at inference with their moving averages. For each channel it keeps, over
    all training batches since the last `reset`,

    $$d = \frac{\mu_{moving} - \mu_{batch}}{\sqrt{\sigma^2_{batch}}} \qquad
        r = \log \frac{\sigma^2_{moving}}{\sigma^2_{batch}}$$

    with the moving statistics as the batch found them and the layer's `epsilon`
    added to each variance, as in the normalization. Both are signed means over
    batches: the noise of small batches averages out, and the rest is 0 in a
    layer whose moving statistics are right. If `d` is above 1, or `r` above log
    2, inference differs from what was trained.

    Everything else is as in Keras' layer, to the last bit. What it measures is
    not among its `weights`: files, `get_weights` and `set_weights` match the
    plain layer in both directions, and saving loses the measurements. (Keras'
    files require the class name of the plain layer; it is exported as
    `MonitoredBatchNormalization`.) The measurements are among its `variables`,
    as random seeds are, so training updates them on every backend. A frozen
    layer is in inference mode, and measures nothing.

    Under `tf.distribute` each replica normalizes by its own share of a batch,
    and the numbers are means over the replicas; on several machines, over those
    of the calling machine. With `synchronized=True` they are those of the whole
    batch. In PyTorch's `DistributedDataParallel` each process normalizes by its
    own share of a batch and measures that. Under JAX's `keras.distribution` it
    is the whole batch.

    Args:
        axis: As in Keras, like all arguments.
        momentum: Weight of the old value in the moving averages.
        kwargs: See `keras.layers.BatchNormalization`.

    Input shape:
        Any, with a known number of channels along `axis`.

    Output shape:
        Same as the input.

    Source: Ioffe & Szegedy (2015), *Batch normalization*, algorithms 1 and 2.

    Example:

    >>> layer = MonitoredBatchNormalization()
    >>> x = np.array([[1.0], [3.0]], "float32")
    >>> for _ in range(5):
    ...     y = layer(x, training=True)
    >>> statistics = layer.statistics()
    >>> round(float(statistics.mean_shift[0]), 2)  # from -2 / 1, slowly to 0
    -1.96
    >>> round(statistics.initial_share, 2)
    0.95
    """

    def __init__(
        self, axis: int = -1, momentum: float = 0.99, **kwargs: Any
    ) -> None:
        owner = "MonitoredBatchNormalization"
        axis = checked_int(owner, "axis", axis)
        # Outside of [0, 1], moving statistics grow without bound.
        momentum = checked_number(owner, "momentum", momentum, low=0, high=1)
        super().__init__(axis=axis, momentum=momentum, **kwargs)
        self._measured: _Untracked | None = None

    def build(self, input_shape: Any) -> None:
        """Creates the weights, and the variables of the measurements."""
        axes = len(input_shape)
        if not -axes <= self.axis < axes:
            raise ValueError(
                "`axis` of `MonitoredBatchNormalization` must be an axis of "
                f"the inputs, which have {axes}. "
                f"Received: axis={self.axis} and inputs of shape {input_shape}."
            )
        super().build(input_shape)
        self._measured = _Untracked(
            measured_variable(6, input_shape[self.axis], "measured")
        )

    @property
    def variables(self) -> list[Any]:
        """All state, with the measurements, which `weights` leaves out."""
        own = [] if self._measured is None else [self._measured.variable]
        return [*super().variables, *own]

    def call(
        self,
        inputs: Tensor,
        training: bool | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As in Keras."""
        if is_training(self, training) and self._measured is not None:
            variable = self._measured.variable
            words = ops.convert_to_tensor(variable.value)
            found = batch_against_moving(self, inputs, mask)
            variable.assign(
                ops.concatenate(
                    [
                        add_to(words[2 * i : 2 * i + 2], part)
                        for i, part in enumerate(found)
                    ]
                )
            )
        return super().call(inputs, training=training, mask=mask)

    def statistics(self) -> BatchNormStatistics:
        """The measurements since the last `reset`."""
        if self._measured is None:
            raise ValueError(
                "`MonitoredBatchNormalization.statistics` needs a built layer. "
                f"Received: {self.name!r}, which has not been called yet."
            )
        replicas = _backend.values_of_replicas(self._measured.variable)
        parts = [
            [total_of(words[i : i + 2], "float64") for i in (0, 2, 4)]
            for words in map(_backend.on_host, replicas)
        ]
        shift, ratio, shares = np.sum(parts, axis=0)
        batches = int(np.max([each[-1] for each in parts]))
        with np.errstate(invalid="ignore"):  # 0 / 0
            return BatchNormStatistics(
                batches,
                shift / shares,
                ratio / shares,
                float(self.momentum**batches),
            )

    def reset(self) -> None:
        """Clears the measurements. The moving statistics stay."""
        if self._measured is not None:
            variable = self._measured.variable
            variable.assign(ops.zeros_like(variable.value))


MonitoredBatchNormalization = BatchNormalization


class _Untracked:
    """Hides a variable from Keras, which treats every attribute as a weight."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable
