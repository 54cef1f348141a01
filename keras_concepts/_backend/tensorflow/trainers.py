"""The train function, the predictions and the batches of Keras' trainer."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from keras_concepts._backend.kept_variables import keep_variables
from keras_concepts._backend.keras_internals import (
    data_of_pass,
    make_train_function,
    replace_next_pass,
)
from keras_concepts._backend.tensorflow.replicas import outside_of_strategy
from keras_concepts._backend.tensorflow.states import kept_state
from keras_concepts._backend.tensorflow.tensors import snapshot
from keras_concepts._shadow import (
    shadow,
    shadow_in_thread,
    shadow_methods_in_thread,
)
from keras_concepts._types import Observe, Tensor

END_OF_DATA = (StopIteration, tf.errors.OutOfRangeError)
shadow_in_step = shadow_in_thread
shadow_methods_in_step = shadow_methods_in_thread


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del arguments
    restore_variables = keep_variables(model, snapshot)

    def restore(result: Any) -> Any:
        restore_variables()
        return result

    return restore


def observed_train_functions(
    model: Any,
) -> Callable[[Observe, Iterable[Any]], Callable[..., Any]]:
    return functools.partial(_observed_train_function, model)


def _observed_train_function(
    model: Any, observe: Observe, buffers: Iterable[Any]
) -> Callable[..., Any]:
    del buffers  # tf.Variables, which the traced step captures
    original = model.train_step

    def train_step(data: Any) -> Any:
        with observe(data, None, None):
            return original(data)

    previous = model.train_function
    with shadow(model, "train_step", train_step):
        make_train_function(model)
    observed, model.train_function = model.train_function, previous
    return observed


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    if model.distribute_strategy.num_replicas_in_sync > 1:
        # Keras' function would pass the whole batch to each replica.
        def step(batch: Any) -> Any:
            return model.predict_step((batch,))

        if not model.run_eagerly:
            jit = model.jit_compile
            step = tf.function(step, autograph=False, jit_compile=jit)
        with kept_state(model):
            yield functools.partial(outside_of_strategy, step)
        return
    previous = model.predict_function
    model.make_predict_function(force=True)
    step, model.predict_function = model.predict_function, previous
    with kept_state(model):
        yield lambda batch: step([(batch,)])


# Each callback from a pipeline takes a third of a millisecond.
_WATCHED_BATCHES = 256


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    if not isinstance(data_of_pass(iterator), tf.data.Dataset):
        return False  # a data set of a distribution strategy
    replace_next_pass(iterator, lambda dataset: _looked_at(dataset, look))
    return True


def _looked_at(
    dataset: tf.data.Dataset, look: Callable[[Any], None]
) -> tf.data.Dataset:
    """The same elements in the same order, each passed to `look` when drawn."""

    @tf.autograph.experimental.do_not_convert
    def passed_on(index: Tensor, batch: Any) -> Any:
        leaves = tf.nest.flatten(batch)
        is_dense = [isinstance(leaf, tf.Tensor) for leaf in leaves]
        skeleton = tf.nest.map_structure(lambda _: None, batch)
        dense = [x for x, is_it in zip(leaves, is_dense, strict=True) if is_it]

        def look_at(*arrays: np.ndarray) -> np.bool_:
            rest = iter(arrays)
            flat = [next(rest) if is_it else None for is_it in is_dense]
            look(tf.nest.pack_sequence_as(skeleton, flat))
            return np.bool_(True)

        seen = tf.cond(
            index < _WATCHED_BATCHES,
            lambda: tf.numpy_function(look_at, dense, tf.bool),
            lambda: tf.constant(False),
        )
        with tf.control_dependencies([seen]):
            leaves = [
                tf.identity(leaf) if is_it else leaf
                for leaf, is_it in zip(leaves, is_dense, strict=True)
            ]
        return tf.nest.pack_sequence_as(batch, leaves)

    return dataset.enumerate().map(passed_on)
