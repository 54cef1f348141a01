"""The part of a functional model that is the same in each call on a batch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras

from keras_concepts._backend.keras_internals import (
    calls_its_graph,
    flatten_layers,
    graph_of,
    has_seeds,
    is_of_keras,
    keras_mask,
    replace_graph_run,
    set_keras_mask,
)
from keras_concepts._types import Tensor


class FixedPart:
    """Keeps the outputs of what comes before any randomness in a model.

    These are Keras' own layers and operations without a random seed whose
    inputs depend only on the batch: of several calls on one batch they run only
    in the first. Outputs that only such operations read are not kept.

    Args:
        version: Returns a number that changes when a tensor is written to.
    """

    def __init__(self, version: Callable[[Tensor], int]) -> None:
        self._version = version
        self._batch: Any = None
        self._begin()

    def _begin(self) -> None:
        self._known = False
        self._position = 0
        # By position of an operation in the graph.
        self._kept: dict[int, tuple[Any, list[tuple[Any, int, Any]]]] = {}
        self._fixed: set[int] = set()  # `id` of tensors, and of tensors
        self._needed: set[int] = set()  # that other operations read

    def next_call(self, batch: Any) -> None:
        """Sets the batch on which the model is called next."""
        if batch is not self._batch:
            self._batch = batch
            self._begin()

    @contextlib.contextmanager
    def of(self, model: Any) -> Iterator[None]:
        """Keeps the fixed part of `model` inside the with-block.

        A model that is not a graph, or that has its own `call` or
        `predict_step`, runs as usual.
        """
        graph = graph_of(model)
        if graph is None or not _is_plain(model):
            yield
            return

        def run(original: Any, inputs: Any, operation_fn: Any) -> Any:
            self._position = 0
            if not self._known:
                self._fixed |= {id(x) for x in keras.tree.flatten(inputs)}
            outputs = original(
                inputs,
                lambda operation: self._kept_call(operation, operation_fn),
            )
            if not self._known:
                self._known = True
                self._needed |= {id(x) for x in keras.tree.flatten(outputs)}
                self._drop_the_rest()
            return outputs

        with replace_graph_run(graph, run):
            yield

    def _kept_call(
        self, operation: Any, operation_fn: Callable[[Any], Callable[..., Any]]
    ) -> Callable[..., Any]:
        position, call = self._position, operation_fn(operation)
        self._position += 1
        if self._known:
            if position in self._kept and self._restored(position):
                return lambda *_, **__: self._kept[position][0]
            return call

        def first(*args: Any, **kwargs: Any) -> Any:
            given = {
                id(x)
                for x in keras.tree.flatten((args, kwargs))
                if keras.ops.is_tensor(x)
            }
            outputs = call(*args, **kwargs)
            if given <= self._fixed and _is_fixed(operation):
                state = [
                    (x, self._version(x), keras_mask(x))
                    for x in keras.tree.flatten(outputs)
                ]
                self._kept[position] = outputs, state
                self._fixed |= {id(x) for x, *_ in state}
            else:
                self._needed |= given
            return outputs

        return first

    def _restored(self, position: int) -> bool:
        """Whether the outputs are unchanged, apart from their masks."""
        _, state = self._kept[position]
        for tensor, version, mask in state:
            if self._version(tensor) != version:
                return False
            if mask is not None:  # attention removes it
                set_keras_mask(tensor, mask)
        return True

    def _drop_the_rest(self) -> None:
        for position, (outputs, state) in self._kept.items():
            if not self._needed & {id(tensor) for tensor, *_ in state}:
                nothing = keras.tree.map_structure(lambda _: 0, outputs)
                self._kept[position] = nothing, []


def _is_plain(model: Any) -> bool:
    return (
        calls_its_graph(model)
        and type(model).predict_step is keras.Model.predict_step
        and "predict_step" not in vars(model)
    )


def _is_fixed(operation: Any) -> bool:
    parts = [operation]
    if isinstance(operation, keras.Layer):
        parts = flatten_layers(operation)
    return all(
        is_of_keras(part)
        and not isinstance(part, keras.layers.Lambda)
        and not has_seeds(part)
        for part in parts
    )
