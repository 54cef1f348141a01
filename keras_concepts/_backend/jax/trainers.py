"""The train function, the predictions and the batches of Keras' trainer."""

import contextlib
import functools
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras

from keras_concepts._backend.keras_internals import (
    flatten_layers,
    make_train_function,
    replace_state_sharding,
    state_sharding,
    watch_next_pass,
)
from keras_concepts._shadow import (
    shadow,
    shadow_methods_in_thread,
)
from keras_concepts._types import Observe

END_OF_DATA = (StopIteration,)
shadow_in_step = shadow
shadow_methods_in_step = shadow_methods_in_thread


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del model
    # Copies, because the step reuses the memory of its arguments.
    kept = jax.tree.map(jnp.copy, arguments[0])

    def restore(result: Any) -> Any:
        logs, _ = result
        return logs, kept

    return restore


def observed_train_functions(
    model: Any,
) -> Callable[[Observe, Iterable[Any]], Callable[..., Any]]:
    sharding = None
    compiles = model.jit_compile and not model.run_eagerly
    if compiles and keras.distribution.distribution() is not None:
        # The trainer reads it from the values of the variables, which have none
        # during an epoch.
        sharding = state_sharding(model)
    return functools.partial(_observed_train_function, model, sharding)


def _observed_train_function(
    model: Any, sharding: Any, observe: Observe, buffers: Iterable[Any]
) -> Callable[..., Any]:
    original = model.train_step
    buffers = list(buffers)

    def train_step(state: Any, data: Any) -> Any:
        *state, stores = state
        with _carried(buffers, stores):
            untrained = zip(
                model.non_trainable_variables, state[1], strict=True
            )
            with observe(data, list(state[0]), list(untrained)) as after:
                logs, state = original(tuple(state), data)
                after.extend(state[0])
            stores = tuple(buffer.state for buffer in buffers)
        return logs, (*state, stores)

    previous = model.train_function
    with contextlib.ExitStack() as stack:
        stack.enter_context(shadow(model, "train_step", train_step))
        if sharding is not None:
            # It names a sharding for each part of the state. The buffers are an
            # additional part, whose sharding XLA may choose.
            stack.enter_context(
                replace_state_sharding(model, (*sharding, None))
            )
        make_train_function(model)
    step, model.train_function = model.train_function, previous

    def observed(state: Any, iterator: Any) -> Any:
        stores = tuple(buffer.state for buffer in buffers)
        logs, (*state, stores) = step((*state, stores), iterator)
        for buffer, store in zip(buffers, stores, strict=True):
            buffer.state = store
        return logs, tuple(state)

    return observed


@contextlib.contextmanager
def _carried(buffers: Sequence[Any], stores: Any) -> Iterator[None]:
    concrete = [buffer.state for buffer in buffers]
    for buffer, store in zip(buffers, stores, strict=True):
        buffer.state = store
    try:
        yield
    finally:
        for buffer, state in zip(buffers, concrete, strict=True):
            buffer.state = state


# The last function of each model, and the configuration of its layers then.
_steps: weakref.WeakKeyDictionary[Any, tuple[list[str], Callable[..., Any]]]
_steps = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    # Not Keras' own predict function, which reuses the variables' memory.
    step = model.predict_step
    if model.jit_compile and not model.run_eagerly:
        step = _compiled(model)
    trainable = [v.value for v in model.trainable_variables]
    others = [v.value for v in model.non_trainable_variables]

    def predict(batch: Any) -> Any:
        nonlocal others
        outputs, others = step((trainable, others), (batch,))
        return outputs

    yield predict


def _compiled(model: Any) -> Callable[..., Any]:
    """`predict_step`, compiled again only if a layer has changed.

    XLA takes longer to compile a small model than to run it a thousand times.
    """
    owner = weakref.ref(model)

    def predict_step(state: Any, data: Any) -> Any:
        # A strong reference would keep the model in the dictionary forever.
        return owner().predict_step(state, data)

    try:
        layers = [
            repr(layer.get_config())
            for layer in flatten_layers(model)
            if not isinstance(layer, keras.Model)
        ]
    except NotImplementedError:  # a layer that has no `get_config`
        return jax.jit(predict_step)
    if model not in _steps or _steps[model][0] != layers:
        _steps[model] = layers, jax.jit(predict_step)
    return _steps[model][1]


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    watch_next_pass(iterator, look)
    return True
