"""What layers hold outside of Keras variables."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from keras_concepts._backend.keras_internals import (
    flatten_layers,
    is_of_keras,
    own_value,
)


@contextlib.contextmanager
def kept_state(model: Any) -> Iterator[None]:
    variables = _own_variables(model)
    before = [tf.identity(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, before, strict=True):
            _ = variable.assign(value)


def _own_variables(model: Any) -> list[Any]:
    """TensorFlow's own variables in the layers, each once."""
    found: list[Any] = []
    for layer in flatten_layers(model):
        if isinstance(layer, keras.layers.TFSMLayer):
            # Its functions assign to what the Keras variables wrap.
            found += [own_value(variable) for variable in layer.variables]
        elif is_of_keras(layer):
            continue
        for held in vars(layer).values():
            if isinstance(held, dict):
                held = list(held.values())
            for each in held if isinstance(held, list | tuple) else [held]:
                if isinstance(each, tf.Variable):
                    found.append(each)
                elif isinstance(each, tf.Module):
                    found += each.variables
    return [*{id(variable): variable for variable in found}.values()]
