"""What a tensor holds, and what kind of tensor it is."""

import sys
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_concepts._backend import stand_ins
from keras_concepts._types import Tensor

copied = stand_ins.copied
version = stand_ins.version


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable)


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    if isinstance(tensor, jax.core.Tracer):
        return None
    is_near = all(device.platform == "cpu" for device in tensor.devices())
    return on_host(tensor) if is_near or wait else None


def on_host(tensor: Any) -> np.ndarray:
    if isinstance(tensor, keras.Variable):  # NumPy warns about it
        tensor = keras.ops.convert_to_tensor(tensor)
    if isinstance(tensor, jax.Array) and not (
        tensor.is_fully_addressable or tensor.is_fully_replicated
    ):
        tensor = multihost_utils.process_allgather(tensor, tiled=True)
    return keras.ops.convert_to_numpy(tensor)


def is_dense(value: Any) -> bool:
    # If there is such a tensor, this module has been imported.
    sparse = sys.modules.get("jax.experimental.sparse")
    return sparse is None or not isinstance(value, sparse.JAXSparse)
