"""The layers that a model calls in one eager pass, and their arguments."""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import keras

from keras_concepts import _backend
from keras_concepts._shadow import shadow
from keras_concepts._types import Tensor
from keras_concepts.instruments.owners import (
    OwnerNames,
    operations_of,
    owner_names,
)

# The layers inside these are left out, and may run in a backend's loop.
_CLOSED = (
    keras.layers.AdditiveAttention,
    keras.layers.Attention,
    keras.layers.GroupQueryAttention,
    keras.layers.MultiHeadAttention,
    keras.layers.RNN,
    keras.layers.TimeDistributed,
)


@dataclasses.dataclass
class RecordedCall:
    """One call of a layer, or of an operation in a functional model.

    Attributes:
        layer: The layer or operation.
        name: Its name; see `owner_names`.
        parent: The call of the layer that called it, or `None`.
        arguments: What it was called with, by name.
        masks: The mask that each of its tensors had at the time, by `id`.
        outputs: What it returned.
        children: Number of recorded calls made inside it.
    """

    layer: Any
    name: str
    parent: "RecordedCall | None"
    arguments: dict[str, Any]
    masks: dict[int, Tensor] = dataclasses.field(default_factory=dict)
    outputs: Any = None
    children: int = 0

    def tensors(self, masks: bool = False) -> list[Tensor]:
        """Its input tensors, or the masks passed to it."""
        return [
            each
            for name, argument in self.arguments.items()
            if is_mask(name) == masks
            for each in keras.tree.flatten(argument)
            if hasattr(each, "shape") and hasattr(each, "dtype")
        ]


def is_mask(argument: str) -> bool:
    """Whether Keras treats an argument of this name as a mask."""
    return argument == "mask" or argument.endswith("_mask")


# From the number of a call, in the order in which calls end, and its result, to
# the result that replaces it.
Alter: TypeAlias = Callable[[int, Any], Any]


@contextlib.contextmanager
def recorded_calls(
    model: Any, alter: Alter | None = None
) -> Iterator[list[RecordedCall]]:
    """Records the calls made inside the with-block, in the order they end.

    What recurrent, attention and `TimeDistributed` layers call is left out.

    Args:
        model: A layer.
        alter: Changes what the calls return.
    """
    calls: list[RecordedCall] = []
    open_calls: list[RecordedCall] = []
    names = owner_names(model)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_backend.without_cudnn(model))
        for layer in visible_layers(model):
            stack.enter_context(
                shadow(
                    layer,
                    "call",
                    _recording(layer, names, calls, open_calls, alter),
                )
            )
        yield calls


def visible_layers(model: Any) -> list[Any]:
    """The model, and each layer and operation in it whose calls are visible."""
    layers = _backend.flatten_layers(model)
    hidden = {
        id(inner)
        for layer in layers
        if isinstance(layer, _CLOSED)
        for inner in _backend.flatten_layers(layer)
        if inner is not layer
    }
    found = {
        id(each): each
        for layer in layers
        for each in (layer, *operations_of(layer))
        if not isinstance(each, keras.layers.InputLayer)
    }
    return [each for key, each in found.items() if key not in hidden]


def _recording(
    layer: Any,
    names: OwnerNames,
    calls: list[RecordedCall],
    open_calls: list[RecordedCall],
    alter: Alter | None,
) -> Callable[..., Any]:
    original = layer.call
    signature = inspect.signature(original)

    def call(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        parent = open_calls[-1] if open_calls else None
        entry = RecordedCall(
            layer, names.of(layer), parent, dict(bound.arguments)
        )
        for tensor in entry.tensors():
            mask = _backend.keras_mask(tensor)
            if mask is not None:
                entry.masks[id(tensor)] = mask
        open_calls.append(entry)
        try:
            entry.outputs = original(*args, **kwargs)
            if alter is not None:
                entry.outputs = alter(len(calls), entry.outputs)
        finally:
            _ = open_calls.pop()
        if parent is not None:
            parent.children += 1
        calls.append(entry)
        return entry.outputs

    return call
