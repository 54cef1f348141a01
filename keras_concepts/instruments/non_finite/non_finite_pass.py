"""Where in a pass forward the first NaN or infinity arises."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor

# When it came, counted from 1 in the order of the calls, and 0 for never; how
# many entries were NaN then; how many infinite.
EVENT_COLUMNS = 3
LABELS = ("y", "sample_weight")


def event_count(layers: Sequence[Any]) -> int:
    """How many rows `nonfinite_events` gives."""
    return 2 * len(layers) + len(LABELS)


def nonfinite_events(
    model: Any,
    layers: Sequence[Any],
    values: list[tuple[Any, Tensor]],
    batch: Any,
) -> Tensor:
    """Runs a forward pass as in training and looks at every tensor.

    The model is not changed: what the pass assigns is discarded.

    Args:
        model: Keras model.
        layers: Layers and operations in it to look at.
        values: Pairs of variables and the values to use for them.
        batch: What a training step is given.

    Returns:
        `(event_count(layers), 3)`: what went into each layer and what came out
        of it, in turns; then labels and sample weights.
    """
    x, *labels = keras.utils.unpack_x_y_sample_weight(batch)
    found = _Events(event_count(layers))
    for i, label in enumerate(labels):
        found.look_at(2 * len(layers) + i, label)
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            keras.StatelessScope(state_mapping=values, collect_losses=True)
        )
        for i, layer in enumerate(layers):
            stack.enter_context(
                _backend.shadow_in_step(
                    layer, "call", _observed(layer, i, found)
                )
            )
        _ = _backend.call_as_trainer(model, x, training=True)
    return ops.stack(found.events)


class _Events:
    def __init__(self, count: int) -> None:
        self.events = [ops.zeros((EVENT_COLUMNS,))] * count
        self._clock = 0

    def look_at(self, place: int, structure: Any) -> None:
        self._clock += 1
        tensors = [x for x in keras.tree.flatten(structure) if _is_float(x)]
        if not tensors:
            return
        nan = sum(_count(ops.isnan(x)) for x in tensors)
        infinite = sum(_count(ops.isinf(x)) for x in tensors)
        here = ops.stack([ops.full((), float(self._clock)), nan, infinite])
        here = ops.where(nan + infinite > 0, here, ops.zeros_like(here))
        before = self.events[place]
        self.events[place] = ops.where(before[0] > 0, before, here)


def _observed(layer: Any, number: int, found: _Events) -> Callable[..., Any]:
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        found.look_at(2 * number, (args, kwargs))
        outputs = original(*args, **kwargs)
        found.look_at(2 * number + 1, outputs)
        return outputs

    return call


def _count(marks: Tensor) -> Tensor:
    return ops.sum(ops.cast(marks, "float32"))


def _is_float(x: Any) -> bool:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return False
    return keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(x.dtype)
    )
