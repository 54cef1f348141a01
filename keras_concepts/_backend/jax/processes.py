"""Processes that run one program, over which arrays are spread."""

import pickle
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

from keras_concepts._backend import stand_ins

summed_over_ranks = stand_ins.summed_over_ranks
gathered_from_ranks = stand_ins.gathered_from_ranks


def is_main_process(model: Any) -> bool:
    del model
    return jax.process_index() == 0


def process_count(model: Any) -> int:
    if jax.process_count() == 1:
        return 1
    # In a training run, whose variables have no values during an epoch.
    distribution = keras.distribution.distribution()
    if distribution is not None:
        mesh = distribution.device_mesh.backend_mesh
        return len({each.process_index for each in mesh.devices.flat})
    processes = {
        device.process_index
        for variable in model.variables[:1]
        for device in variable.value.devices()
    }
    return max(len(processes), 1)


def gathered(model: Any, value: Any) -> list[Any]:
    if process_count(model) == 1:
        return [value]
    own = np.frombuffer(pickle.dumps(value), np.uint8)
    # What is sent must have the same shape everywhere.
    lengths = multihost_utils.process_allgather(np.int32(len(own)))
    padded = np.resize(own, int(np.max(lengths)))
    every = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [pickle.loads(each.tobytes()) for each in every]
