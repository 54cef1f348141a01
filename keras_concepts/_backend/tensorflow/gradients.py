"""Gradients of functions, and the gradients that an optimizer receives."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from keras_concepts._backend import stand_ins
from keras_concepts._types import Tensor

is_framework_optimizer = stand_ins.is_framework_optimizer
framework_updates = stand_ins.framework_updates


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(tensors)
        value = function(tensors)
    gradients = tape.gradient(
        value[0] if has_aux else value,
        tensors,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return value, [tf.convert_to_tensor(gradient) for gradient in gradients]


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()  # no tape is open


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    return tf.math.unsorted_segment_sum(
        gradient.values, gradient.indices, shape[0]
    )


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
