"""How much a model computes for a row of its inputs, roughly."""

import math
from typing import Any

import keras

from keras_concepts import _backend


def row_operations(model: Any) -> float:
    """Multiplications of weights with the activations of one row.

    Of a layer that is no part of a graph of layers it is not known how often
    its weights are used: once, it is assumed.

    Args:
        model: A built model.
    """
    layers = _backend.flatten_layers(model)
    repeats: dict[int, int] = {}
    for layer in layers:
        if isinstance(layer, keras.layers.RNN):
            for part in _backend.flatten_layers(layer):  # its cells
                repeats[id(part)] = _steps(layer)
    return float(
        sum(
            math.prod(variable.shape)
            * repeats.get(id(layer), _positions(layer))
            for layer in layers
            if not isinstance(layer, keras.layers.Embedding)
            for variable in _backend.trained_variables(layer)
            if len(variable.shape) > 1
        )
    )


def _steps(layer: Any) -> int:
    try:
        return int(layer.input.shape[1] or 1)
    except (AttributeError, ValueError):  # not part of a graph, or many times
        return 1


def _positions(layer: Any) -> int:
    """At how many places of a row a layer uses its weights."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return 1
    is_first = getattr(layer, "data_format", None) == "channels_first"
    lengths = shape[2:] if is_first else shape[1:-1]
    return math.prod(length or 1 for length in lengths)
