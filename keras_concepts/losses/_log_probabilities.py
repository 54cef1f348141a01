"""Logarithms of probabilities, finite and with finite gradients."""

import keras
from keras import ops

from keras_concepts._types import Tensor

# Far below what a float32 softmax can distinguish from 0, and far above 1 /
# float32 max.
_TINY = 1e-30
# Value of a masked logit: finite, and its exponential is 0.
_NEVER = -1e30


def logits_of(probabilities: Tensor, binary: bool) -> Tensor:
    """Logits whose sigmoid or softmax over the last axis are `probabilities`.

    Exact zeros become `1e-30`. The complement of a binary probability that
    was rounded to 1 becomes half the distance to the next number below 1.
    """
    log_p = ops.log(ops.maximum(probabilities, _TINY))
    if not binary:
        return log_p
    dtype = keras.backend.standardize_dtype(probabilities.dtype)
    gap = 2.0**-54 if dtype == "float64" else 2.0**-25
    return log_p - ops.log(ops.maximum(1.0 - probabilities, gap))


def log_softmax_and_rest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """`log p` and `log(1 - p)` of the softmax over the last axis.

    Where `p` is at most 1/2, `log1p(-p)` is exact. Only the largest logit can
    have `p` above 1/2, and there the sum over the others is taken.
    """
    logits = logits - ops.stop_gradient(ops.max(logits, -1, keepdims=True))
    total = ops.logsumexp(logits, axis=-1, keepdims=True)
    log_p = logits - total
    top = ops.equal(
        ops.expand_dims(ops.argmax(logits, axis=-1), -1),
        ops.cast(ops.arange(logits.shape[-1]), "int32"),
    )
    others = ops.where(top, ops.full_like(logits, _NEVER), logits)
    rest_of_top = ops.logsumexp(others, axis=-1, keepdims=True) - total
    p = ops.where(top, ops.zeros_like(log_p), ops.exp(log_p))
    return log_p, ops.where(top, rest_of_top, ops.log1p(-p))


def multiply_no_nan(targets: Tensor, values: Tensor) -> Tensor:
    """`targets * values`, but 0 where a target is 0 and its value infinite."""
    nothing = ops.zeros_like(values)
    return ops.where(ops.equal(targets, 0), nothing, targets * values)
