"""Functional models: graphs of layers and symbolic tensors."""

from typing import Any

import keras
from keras.src.backend import compute_output_spec
from keras.src.models.functional import Functional


def previous_layers(layer: Any) -> list[Any]:
    """What the layer reads in functional models, each once."""
    read = [
        parent.operation
        for node in layer._inbound_nodes
        for parent in node.parent_nodes
    ]
    return list({id(each): each for each in read}.values())


def next_layers(layer: Any) -> list[Any] | None:
    """What reads the layer in functional models; `None` if it is in none."""
    if not layer._inbound_nodes:
        return None
    return [node.operation for node in layer._outbound_nodes]


def made_by(tensor: Any) -> tuple[Any, list[Any], int] | None:
    """What made a symbolic tensor: the operation, its inputs, which output.

    `None` for what no operation has made.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors), history.tensor_index


def output_structure(model: Any) -> Any:
    """Symbolic outputs of a built graph of layers, as the model returns them.

    `None` for other models.
    """
    graph = getattr(model, "_functional", None) or model  # of a `Sequential`
    if not isinstance(graph, Functional):
        return None
    return keras.tree.pack_sequence_as(graph._outputs_struct, graph.outputs)


def symbolic_outputs(model: Any, x: Any) -> Any:
    """Shapes and dtypes of a built model's outputs for `x`, computed by `call`.

    Nothing is assigned. To be called where the variables have their values.
    """
    return compute_output_spec(model, x, training=False)


def is_functional(model: Any) -> bool:
    """Whether the model is a graph of layers that Keras can rebuild."""
    return isinstance(model, Functional)
