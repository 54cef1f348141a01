"""Norms and counts of several tensors at once, on the device."""

from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor


def l2_norms(tensors: list[Tensor]) -> Tensor:
    """L2 norms, correct even where squares leave the range of float32.

    Gradients of 1e-25, as in deep sigmoid stacks, square to zero.
    """
    norms, _ = _backend.norms_and_peaks(tensors)
    return norms


def nonfinite_entries(x: Tensor) -> Tensor:
    """How many entries are NaN or infinite, float32."""
    return ops.cast(ops.sum(ops.cast(~ops.isfinite(x), "int32")), "float32")
