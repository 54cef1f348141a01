"""The batch and moving statistics of batch normalization.

Shared by the layer that measures itself and the monitor of a model.
"""

from typing import Any, NamedTuple

from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.moments import (
    Moments,
    moments_of_replicas,
    unit_moments,
)
from keras_concepts._types import Tensor


class Shift(NamedTuple):
    """The moving statistics of each channel compared with those of a batch.

    Attributes:
        mean_shift: `(μ_moving - μ_batch) / σ_batch`, float32, `(channels,)`.
        log_variance_ratio: `log(σ²_moving / σ²_batch)`.
        batches: 1, or 0 if nothing in the batch counts; the others are then 0.
    """

    mean_shift: Tensor
    log_variance_ratio: Tensor
    batches: Tensor


def is_training(layer: Any, training: bool | None) -> bool:
    """Whether the layer uses the batch's statistics; a frozen one does not."""
    return bool(training) and layer.trainable


class NormalizedBatch(NamedTuple):
    """The input of a layer, and its moving statistics at that time.

    Copies, isolated from what else is computed from them.

    Attributes:
        inputs: Float tensor.
        mask: `True` for what counts, or `None`.
        moving_mean: `(channels,)`.
        moving_variance: `(channels,)`.
        renorm: Running mean and deviation of batch renormalization, or `None`.
        shared: Moments of the whole batch, of which the inputs are a share, if
            the layer normalizes by them; else `None`.
    """

    inputs: Tensor
    mask: Tensor | None
    moving_mean: Tensor
    moving_variance: Tensor
    renorm: tuple[Tensor, Tensor] | None
    shared: Moments | None

    @classmethod
    def of(
        cls, layer: Any, inputs: Tensor, mask: Tensor | None
    ) -> "NormalizedBatch":
        """The present input of a layer, and its moving statistics."""
        [x] = _backend.isolate([ops.stop_gradient(inputs)])
        renorm = None
        if getattr(layer, "renorm", False):
            renorm = _float32(layer.renorm_mean), _float32(layer.renorm_stddev)
        shared = None
        if is_synchronized(layer, mask):
            own = _own_moments(layer, x, mask)
            shared = moments_of_replicas(own)
        return cls(
            x,
            mask,
            _float32(layer.moving_mean),
            _float32(layer.moving_variance),
            renorm,
            shared,
        )


def is_synchronized(layer: Any, mask: Tensor | None = None) -> bool:
    """Whether a layer normalizes by the whole batch if there are replicas.

    Keras does not do so if there is a mask.
    """
    return mask is None and bool(getattr(layer, "synchronized", False))


def batch_moments(layer: Any, inputs: Tensor, mask: Tensor | None) -> Moments:
    """Moments of each channel of a layer's inputs.

    A copy, isolated from what else is computed from them.
    """
    return _moments(layer, NormalizedBatch.of(layer, inputs, mask))


def _moments(layer: Any, batch: NormalizedBatch) -> Moments:
    if batch.shared is not None:
        return batch.shared
    return _own_moments(layer, batch.inputs, batch.mask)


def _own_moments(layer: Any, inputs: Tensor, mask: Tensor | None) -> Moments:
    # Masks count positions, whichever axis holds the channels.
    x = ops.cast(inputs, "float32")
    return unit_moments(x, mask, layer.axis)


def batch_against_moving(
    layer: Any, inputs: Tensor, mask: Tensor | None
) -> Shift:
    """The present moving statistics compared with those of a batch.

    The layer's `epsilon` is added to each variance, as in the normalization. In
    batch renormalization, the batch's statistics are those that the layer
    normalizes by after its correction.
    """
    return shift_of(layer, NormalizedBatch.of(layer, inputs, mask))


def shift_of(layer: Any, given: NormalizedBatch) -> Shift:
    """The moving statistics at that time compared with those of a batch."""
    batch = _moments(layer, given)
    n = ops.maximum(ops.cast(batch.count, "float32"), 1.0)
    variance = batch.squares / n + layer.epsilon
    mean, deviation = batch.mean + batch.rest, ops.sqrt(variance)
    if given.renorm is not None:
        mean, deviation = _renormalized(layer, *given.renorm, mean, deviation)
        variance = ops.square(deviation)
    shift = (given.moving_mean - mean) / deviation
    seen = ops.ones_like(shift) * ops.cast(batch.count > 0, "float32")
    ratio = ops.log(given.moving_variance + layer.epsilon) - ops.log(variance)
    return Shift(seen * shift, seen * ratio, seen)


def _renormalized(
    layer: Any,
    running_mean: Tensor,
    running: Tensor,
    mean: Tensor,
    deviation: Tensor,
) -> tuple[Tensor, Tensor]:
    """The statistics by which a layer with `renorm=True` normalizes its batch.

    `(x - μ) / σ * r + d` is `(x - (μ - d σ / r)) / (σ / r)`. Without limits on
    `r` and `d` (Ioffe 2017, algorithm 1) these are its running statistics.
    """
    running = ops.maximum(running, layer.epsilon**0.5)
    limits = layer.renorm_clipping or {}
    r, d = deviation / running, (mean - running_mean) / running
    if limits.get("rmin") is not None:
        r = ops.maximum(r, limits["rmin"])
    if limits.get("rmax") is not None:
        r = ops.minimum(r, limits["rmax"])
    if limits.get("dmax") is not None:
        d = ops.clip(d, -limits["dmax"], limits["dmax"])
    return mean - d * deviation / r, deviation / r


def _float32(variable: Any) -> Tensor:
    return ops.cast(_backend.snapshot(variable), "float32")
