"""What a tensor holds, and what kind of tensor it is."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_concepts._backend import stand_ins
from keras_concepts._types import Tensor

copied = stand_ins.copied
version = stand_ins.version


def snapshot(variable: Any) -> Tensor:
    # Resource variables copy on write: the tensor read here keeps its value.
    return tf.identity(keras.ops.convert_to_tensor(variable))


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    tensor = tf.convert_to_tensor(tensor)  # it may be a variable
    eager = isinstance(tensor, tf.__internal__.EagerTensor)
    if not eager or ("GPU" in tensor.device and not wait):
        return None
    return tensor.numpy()


def is_dense(value: Any) -> bool:
    composite = tf.SparseTensor | tf.RaggedTensor | tf.IndexedSlices
    return not isinstance(value, composite)


def on_host(value: Any) -> np.ndarray:
    if isinstance(value, keras.Variable):  # NumPy warns about it
        value = tf.convert_to_tensor(value.value)
    return keras.ops.convert_to_numpy(value)
