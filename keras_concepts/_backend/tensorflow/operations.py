"""Operations on scores and labels, each done the fastest way."""

import math

import numpy as np
import tensorflow as tf

from keras_concepts._backend.tensorflow.tracing import (
    choose_rarely,
    traced_for_xla,
)
from keras_concepts._types import Tensor

CLASS_NUMBERS = "int32"


def argmax(tensor: Tensor, if_nan: int) -> Tensor:
    many = tensor.shape[-1] >= 400 and traced_for_xla()
    numbers = _in_blocks(tensor) if many else _first(tensor)
    if not tensor.dtype.is_floating:
        return numbers
    return numbers + if_nan * tf.cast(has_nan(tensor), tf.int32)


def _first(tensor: Tensor) -> Tensor:
    if not traced_for_xla():
        return tf.argmax(tensor, axis=-1, output_type=tf.int32)[..., None]
    # XLA's CPU compiler vectorizes a maximum of floats, but not an argmax.
    largest = tf.reduce_max(tensor, axis=-1, keepdims=True)
    backwards = -tf.range(tensor.shape[-1], dtype=tf.float32)
    places = tf.where(tensor < largest, -np.inf, backwards)
    first = tf.reduce_max(places, axis=-1, keepdims=True)
    return tf.cast(-first, tf.int32)


def _in_blocks(tensor: Tensor) -> Tensor:
    # The last block may overlap the block before, which then comes first, as
    # it should.
    classes = tensor.shape[-1]
    rows = tf.reshape(tensor, (-1, classes))
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    blocks = tf.reshape(rows[:, : whole * width], (-1, whole, width))
    last = tf.reduce_max(rows[:, -width:], axis=-1, keepdims=True)
    highest = tf.concat([tf.reduce_max(blocks, axis=-1), last], axis=1)
    start = tf.minimum(_first(highest) * width, classes - width)
    columns = start + tf.range(width)
    winners = tf.gather(rows, columns, axis=1, batch_dims=1)
    shape = tf.concat([tf.shape(tensor)[:-1], [1]], axis=0)
    numbers = tf.reshape(start + _first(winners), shape)
    return tf.ensure_shape(numbers, (*tensor.shape[:-1], 1))


def fill(tensor: Tensor, where: Tensor, number: float) -> Tensor:
    return tf.where(where, tf.constant(number, tensor.dtype), tensor)


def has_nan(tensor: Tensor, or_infinity: bool = False) -> Tensor:
    if tensor.shape[-1] == 1:
        return _is_bad(tensor, or_infinity)
    if not traced_for_xla():
        # On a CPU, maximum and sum propagate NaN.
        if or_infinity:
            tensor = tf.reduce_sum(tensor, axis=-1, keepdims=True)
        elif _ON_CPU:
            tensor = tf.reduce_max(tensor, axis=-1, keepdims=True)
        bad = _is_bad(tensor, or_infinity)
        return tf.reduce_any(bad, axis=-1, keepdims=True)
    # A sum is several times as fast, and rarely bad if no entry is: only if
    # infinities of both signs meet.
    return choose_rarely(
        _is_bad(tf.reduce_sum(tensor), or_infinity),
        lambda: tf.reduce_any(
            _is_bad(tensor, or_infinity), axis=-1, keepdims=True
        ),
        lambda: tf.zeros_like(tensor[..., :1], tf.bool),
    )


def _is_bad(tensor: Tensor, or_infinity: bool) -> Tensor:
    if or_infinity:
        return tf.logical_not(tf.math.is_finite(tensor))
    return tf.math.is_nan(tensor)


_ON_CPU = not tf.config.list_physical_devices("GPU")


def at_columns(tensor: Tensor, numbers: Tensor) -> Tensor:
    numbers = tf.clip_by_value(numbers, 0, tensor.shape[1] - 1)
    return tf.gather(tensor, numbers, axis=1, batch_dims=1)
