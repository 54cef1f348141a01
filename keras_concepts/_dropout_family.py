"""The layers that are random in training, and keeping only them random."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_concepts._backend import flatten_layers, quick_dropout
from keras_concepts._shadow import shadow

# In these layers `training` affects only their own noise. Recurrent layers are
# listed besides their cells because a fused loop bypasses the cell.
_FAMILY = (
    keras.layers.AlphaDropout,
    keras.layers.Attention,
    keras.layers.Dropout,
    keras.layers.GRU,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.LSTM,
)
_STRENGTHS = ("rate", "stddev", "dropout", "recurrent_dropout")


@contextlib.contextmanager
def dropout_on(model: Any) -> Iterator[list[Any]]:
    """Makes the dropout family of `model` always random in the with-block.

    Every other layer keeps its mode, so with `training=False` the model is in
    inference mode except for its dropout.

    Yields:
        The layers of the family.
    """
    layers = [layer for layer in flatten_layers(model) if _has_dropout(layer)]
    with _in_mode(layers, training=True):
        yield layers


@contextlib.contextmanager
def dropout_off(model: Any) -> Iterator[None]:
    """Makes the dropout family of `model` never random in the with-block.

    Every other layer keeps its mode.
    """
    layers = [layer for layer in flatten_layers(model) if _has_dropout(layer)]
    with _in_mode(layers, training=False):
        yield


@contextlib.contextmanager
def _in_mode(layers: list[Any], training: bool) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for layer in layers:
            call = training and _quick_call(layer)
            call = call or _call_with(layer.call, training)
            stack.enter_context(shadow(layer, "call", call))
            if _is_cell(layer):
                # A failure within a step leaves its masks behind.
                _ = stack.callback(layer.reset_dropout_mask)
                _ = stack.callback(layer.reset_recurrent_dropout_mask)
        yield


def _is_cell(layer: Any) -> bool:
    return hasattr(layer, "get_recurrent_dropout_mask")


def _has_dropout(layer: Any) -> bool:
    return (isinstance(layer, _FAMILY) or _is_cell(layer)) and any(
        getattr(layer, strength, 0.0) for strength in _STRENGTHS
    )


def _quick_call(layer: Any) -> Callable[..., Any] | None:
    """A faster form of a plain `Dropout` without a seed, if it is slow."""
    plain = type(layer).call is keras.layers.Dropout.call
    if not plain or layer.seed is not None or layer.noise_shape is not None:
        return None
    drop = quick_dropout(layer.rate)

    def call(inputs: Any, training: bool | None = None) -> Any:
        del training
        return drop(inputs) if drop is not None else inputs

    return None if drop is None else functools.wraps(layer.call)(call)


def _call_with(call: Callable[..., Any], training: bool) -> Callable[..., Any]:
    """`call` with this `training`, whatever is passed."""
    names = list(inspect.signature(call).parameters)
    place = names.index("training") if "training" in names else len(names)

    @functools.wraps(call)
    def call_in_mode(*args: Any, **kwargs: Any) -> Any:
        if len(args) > place:
            return call(*args[:place], training, *args[place + 1 :], **kwargs)
        return call(*args, **{**kwargs, "training": training})

    return call_in_mode
