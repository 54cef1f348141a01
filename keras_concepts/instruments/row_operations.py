"""Roughly how much a model computes for one row of its inputs."""

import math
from typing import Any

import keras

from keras_concepts import _backend


def row_operations(model: Any) -> float:
    """Multiplications of weights with the activations of one row.

    For a layer outside of a graph of layers, it is not known how often its
    weights are used; once is assumed.

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
    except (AttributeError, ValueError):  # not in a graph, or repeated
        return 1


def _positions(layer: Any) -> int:
    """Number of positions in a row at which a layer uses its weights."""
    try:
        shape = layer.output.shape
    except (AttributeError, ValueError):
        return 1
    is_first = getattr(layer, "data_format", None) == "channels_first"
    lengths = shape[2:] if is_first else shape[1:-1]
    return math.prod(length or 1 for length in lengths)
