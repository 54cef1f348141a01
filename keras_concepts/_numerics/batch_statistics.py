"""Statistics of a batch as batch normalization takes them, and the moving ones.

What the layer that measures itself and the monitor beside a model share.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.moments import Moments, unit_moments
from keras_concepts._types import Tensor


class Shift(NamedTuple):
    """The moving statistics of each channel against those of a batch.

    Attributes:
        mean_shift: `(μ_moving - μ_batch) / σ_batch`, float32, `(channels,)`.
        log_variance_ratio: `log(σ²_moving / σ²_batch)`.
        batches: 1, or 0 if nothing of the batch counts, as the others then.
    """

    mean_shift: Tensor
    log_variance_ratio: Tensor
    batches: Tensor


def is_training(layer: Any, training: bool | None) -> bool:
    """Whether the layer uses the batch's statistics: not if it is frozen."""
    return bool(training) and layer.trainable


class NormalizedBatch(NamedTuple):
    """What a layer is given, and its moving statistics then.

    Copies, walled off from what else is computed from them.

    Attributes:
        inputs: Float tensor.
        mask: `True` for what counts, or `None`.
        moving_mean: `(channels,)`.
        moving_variance: `(channels,)`.
    """

    inputs: Tensor
    mask: Tensor | None
    moving_mean: Tensor
    moving_variance: Tensor

    @classmethod
    def of(
        cls, layer: Any, inputs: Tensor, mask: Tensor | None
    ) -> "NormalizedBatch":
        """What a layer is given now."""
        [x] = _backend.isolate([ops.stop_gradient(inputs)])
        mean = _backend.snapshot(layer.moving_mean)
        variance = _backend.snapshot(layer.moving_variance)
        return cls(x, mask, mean, variance)


def batch_moments(layer: Any, inputs: Tensor, mask: Tensor | None) -> Moments:
    """Moments of each channel of a layer's inputs.

    A copy, walled off from what else is computed from them.
    """
    return _moments(layer, NormalizedBatch.of(layer, inputs, mask))


def _moments(layer: Any, batch: NormalizedBatch) -> Moments:
    # Masks count positions, whichever axis the channels are.
    x = ops.cast(batch.inputs, "float32")
    return unit_moments(x, batch.mask, layer.axis)


def batch_against_moving(
    layer: Any, inputs: Tensor, mask: Tensor | None
) -> Shift:
    """The moving statistics as they are now against those of a batch.

    To each variance the layer's `epsilon` is added, as where it normalizes.
    """
    return shift_of(layer, NormalizedBatch.of(layer, inputs, mask))


def shift_of(layer: Any, given: NormalizedBatch) -> Shift:
    """The moving statistics as they were against those of a batch."""
    batch = _moments(layer, given)
    n = ops.maximum(ops.cast(batch.count, "float32"), 1.0)
    variance = batch.squares / n + layer.epsilon
    mean = ops.cast(given.moving_mean, "float32")
    moving = ops.cast(given.moving_variance, "float32")
    shift = (mean - batch.mean - batch.rest) / ops.sqrt(variance)
    seen = ops.ones_like(shift) * ops.cast(batch.count > 0, "float32")
    ratio = ops.log(moving + layer.epsilon) - ops.log(variance)
    return Shift(seen * shift, seen * ratio, seen)
