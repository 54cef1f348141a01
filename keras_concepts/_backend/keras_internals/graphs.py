"""Functional models: graphs of layers and symbolic tensors."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
from keras.src.backend import compute_output_spec
from keras.src.models.functional import Functional

from keras_concepts._shadow import shadow


def previous_layers(layer: Any) -> list[Any]:
    """The layers whose outputs a layer reads, each once."""
    read = [
        parent.operation
        for node in layer._inbound_nodes
        for parent in node.parent_nodes
    ]
    return list({id(each): each for each in read}.values())


def next_layers(layer: Any) -> list[Any] | None:
    """The layers that read a layer's outputs; `None` if it is in no model."""
    if not layer._inbound_nodes:
        return None
    return [node.operation for node in layer._outbound_nodes]


def made_by(tensor: Any) -> tuple[Any, list[Any], int] | None:
    """The operation that made a tensor, its inputs, and which output it is.

    `None` if no operation made it.
    """
    history = getattr(tensor, "_keras_history", None)
    if history is None or history.operation is None:
        return None
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, list(node.input_tensors), history.tensor_index


def graph_of(model: Any) -> Any | None:
    """The graph of layers in a built model; `None` for other models."""
    graph = getattr(model, "_functional", None) or model  # of a `Sequential`
    return graph if isinstance(graph, Functional) else None


def calls_its_graph(model: Any) -> bool:
    """Whether a call of the model runs its graph of layers and nothing else."""
    return type(model).call in (Functional.call, keras.Sequential.call)


def replace_graph_run(
    graph: Any, run: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    """Makes a graph run as `run(original, inputs, call_of)`.

    `original(inputs, call_of)` is Keras' own way: it calls
    `call_of(operation)(...)` for each operation, always in the same order.
    """
    original = graph._run_through_graph

    def run_through(inputs: Any, operation_fn: Any = _same, **rest: Any) -> Any:
        def as_keras_does(inputs: Any, call_of: Callable[..., Any]) -> Any:
            return original(inputs, operation_fn=call_of, **rest)

        return run(as_keras_does, inputs, operation_fn)

    return shadow(graph, "_run_through_graph", run_through)


def _same(operation: Any) -> Any:
    return operation  # Keras 3.16 does not wrap it or pass an `operation_fn`


def output_structure(model: Any) -> Any:
    """Symbolic outputs of a built graph of layers, as the model returns them.

    `None` for other models.
    """
    graph = graph_of(model)
    if graph is None:
        return None
    return keras.tree.pack_sequence_as(graph._outputs_struct, graph.outputs)


def symbolic_outputs(model: Any, x: Any) -> Any:
    """Shapes and dtypes of a built model's outputs for `x`, computed by `call`.

    Nothing is assigned. Call this only where the variables have values.
    """
    return compute_output_spec(model, x, training=False)


def is_functional(model: Any) -> bool:
    """Whether the model is a graph of layers that Keras can rebuild."""
    return isinstance(model, Functional)
