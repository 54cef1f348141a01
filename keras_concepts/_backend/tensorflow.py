"""TensorFlow: state lives in `tf.Variable`s that the step captures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_concepts._shadow import shadow
from keras_concepts._types import Tensor

END_OF_DATA = (StopIteration, tf.errors.OutOfRangeError)


def snapshot(variable: Any) -> Tensor:
    # Resource variables copy on write: the tensor read here keeps its value.
    return tf.identity(keras.ops.convert_to_tensor(variable))


def dense_rows(gradient: Any) -> Tensor:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    # tf.unique has no static shape, which XLA needs: sort, then number the
    # runs of equal indices. Unused segments stay zero.
    order = tf.argsort(gradient.indices)
    indices = tf.gather(gradient.indices, order)
    starts = tf.cast(indices[1:] != indices[:-1], tf.int32)
    segments = tf.concat([[0], tf.cumsum(starts)], axis=0)
    return tf.math.unsorted_segment_sum(
        tf.gather(gradient.values, order), segments, tf.size(indices)
    )


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    return tensors


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    reduced: list[Any] = []
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        yield reduced
        return
    # Keras sums over the replicas here, after clipping, and only here.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    original = inner._all_reduce_sum_gradients

    def all_reduce_sum_gradients(grads_and_vars: Any) -> Any:
        result = original(grads_and_vars)
        reduced.extend(gradient for gradient, _ in result)
        return result

    with shadow(inner, "_all_reduce_sum_gradients", all_reduce_sum_gradients):
        yield reduced


def mean_over_replicas(tensor: Tensor) -> Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tensor
    return context.all_reduce(tf.distribute.ReduceOp.MEAN, tensor)


def _is_first_replica() -> bool:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return True
    # A number, not a tensor: each replica has a trace of its own.
    return tf.get_static_value(context.replica_id_in_sync_group) == 0


class StepBuffer:
    """See the package docstring."""

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        with tf.init_scope():
            self._rows = tf.Variable(tf.zeros((capacity, columns)))
            self._peaks = tf.Variable(tf.zeros((units,)))
            self._count = tf.Variable(0, dtype=tf.int32)

    def append(self, row: Tensor, peaks: Tensor) -> None:
        if not _is_first_replica():
            return
        position = self._count % self.capacity
        self._rows.scatter_nd_update([[position]], [row])
        self._peaks.assign(tf.maximum(self._peaks, peaks))
        self._count.assign_add(1)

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        return (
            self._rows.numpy(),
            self._peaks.numpy(),
            int(self._count.numpy()),
        )

    def clear(self) -> None:
        self._peaks.assign(tf.zeros_like(self._peaks))
        self._count.assign(0)


def observed_train_function(
    model: Any,
    observe: Callable[[], contextlib.AbstractContextManager[Any]],
    buffers: Sequence[StepBuffer],
) -> Callable[..., Any]:
    del buffers  # tf.Variables: the traced step holds them
    original = model.train_step

    def train_step(data: Any) -> Any:
        with observe():
            return original(data)

    previous = model.train_function
    with shadow(model, "train_step", train_step):
        model.make_train_function(force=True)
    observed, model.train_function = model.train_function, previous
    return observed
