"""The inputs of the first layer with a kernel, and where NaN first appears."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts.instruments.non_finite.fault import Fault
from keras_concepts.instruments.recorded_calls import RecordedCall


def first_kernel_rms(
    calls: Sequence[RecordedCall], kernels: set[str]
) -> float | None:
    """Root mean square of the inputs of the first layer with a kernel.

    Args:
        calls: Calls of one pass, in the order in which they end.
        kernels: Paths of the layers with a kernel.
    """
    for call in calls:
        if isinstance(call.layer, keras.layers.Embedding):
            return None
        if call.name not in kernels:
            continue
        found = call.tensors()
        if not found:
            return None
        values = _backend.on_host(found[0]).astype("float64")
        return float(np.sqrt(np.mean(np.square(values))))
    return None


def first_bad_output(calls: Sequence[RecordedCall]) -> Fault | None:
    """The first call that makes a NaN or infinity from finite inputs."""
    for call in calls:
        count = _bad_entries(keras.tree.flatten(call.outputs))
        if count and not _bad_entries(call.tensors()):
            entries = "entry" if count == 1 else "entries"
            where = (
                f"{count} NaN or infinite {entries} in the output of "
                f"{call.name}, although its inputs are finite"
            )
            return Fault("activation", call.name, count, where)
    return None


def _bad_entries(tensors: Sequence[Any]) -> int:
    count = 0
    for tensor in tensors:
        values = _backend.on_host(tensor)
        if values.dtype.kind == "f":
            count += int((~np.isfinite(values)).sum())
    return count
