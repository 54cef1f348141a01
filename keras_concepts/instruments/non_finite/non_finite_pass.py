"""Where in a pass forward the first NaN or infinity arises."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.norms import nonfinite_entries
from keras_concepts.instruments.penalties.loss_parts import capture_added_losses

# When it came, counted from 1 in the order of the calls, and 0 for never; how
# many entries were NaN then; how many infinite.
EVENT_COLUMNS = 3


def nonfinite_inputs(batch: Any) -> Tensor:
    """NaN and infinite entries of what a step is given.

    Args:
        batch: What a training step is given.

    Returns:
        `(3, 2)`, of `x`, `y` and `sample_weight`. A batch of another structure
        counts as `x`.
    """
    try:
        parts = keras.utils.unpack_x_y_sample_weight(batch)
    except ValueError:
        parts = (batch, None, None)
    return ops.stack([ops.stack(_amounts(part)) for part in parts])


def nonfinite_penalties(variables: Sequence[Any], values: list[Any]) -> Tensor:
    """1 for each variable whose regularizer gives no finite number, else 0.

    Args:
        variables: Keras variables.
        values: What to regularize, or `None`.
    """
    return ops.stack(
        [
            ops.zeros((), "float32")
            if variable.regularizer is None or value is None
            else ops.minimum(nonfinite_entries(variable.regularizer(value)), 1)
            for variable, value in zip(variables, values, strict=True)
        ]
    )


def nonfinite_layers(
    model: Any,
    layers: Sequence[Any],
    values: list[tuple[Any, Tensor]],
    batch: Any,
) -> tuple[Tensor, Tensor]:
    """Runs a forward pass as in training and looks at every tensor.

    The model is not changed: what the pass assigns is discarded.

    Args:
        model: Keras model.
        layers: Layers and operations in it to look at.
        values: Pairs of variables and the values to use for them.
        batch: What a training step is given.

    Returns:
        `(2 * len(layers), 3)`: what went into each layer and what came out of
        it, in turns. And `(len(layers),)`: entries that are not finite among
        the losses that each layer adds.
    """
    x, *_ = keras.utils.unpack_x_y_sample_weight(batch)
    found = _Events(layers)
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
            if isinstance(layer, keras.Layer):
                stack.enter_context(
                    capture_added_losses(layer, found.look_at_loss)
                )
        model(x, training=True)
    return ops.stack(found.events), ops.stack(found.losses)


class _Events:
    def __init__(self, layers: Sequence[Any]) -> None:
        self.events = [ops.zeros((EVENT_COLUMNS,), "float32")] * (
            2 * len(layers)
        )
        self.losses = [ops.zeros((), "float32")] * len(layers)
        self._clock = 0
        self._places = {id(layer): i for i, layer in enumerate(layers)}

    def look_at(self, place: int, structure: Any) -> None:
        self._clock += 1
        nan, infinite = _amounts(structure)
        here = ops.stack(
            [ops.full((), float(self._clock), "float32"), nan, infinite]
        )
        here = ops.where(nan + infinite > 0, here, ops.zeros_like(here))
        before = self.events[place]
        self.events[place] = ops.where(before[0] > 0, before, here)

    def look_at_loss(self, kind: str, owner: int, value: Any) -> None:
        del kind
        place = self._places[owner]
        count = nonfinite_entries(ops.convert_to_tensor(value))
        self.losses[place] = self.losses[place] + count


def _observed(layer: Any, number: int, found: _Events) -> Callable[..., Any]:
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        found.look_at(2 * number, (args, kwargs))
        outputs = original(*args, **kwargs)
        found.look_at(2 * number + 1, outputs)
        return outputs

    return call


def _amounts(structure: Any) -> tuple[Tensor, Tensor]:
    """How many entries are NaN, and how many infinite."""
    tensors = [x for x in keras.tree.flatten(structure) if _is_float(x)]
    if not tensors:
        return ops.zeros((), "float32"), ops.zeros((), "float32")
    return (
        sum(_count(ops.isnan(x)) for x in tensors),
        sum(_count(ops.isinf(x)) for x in tensors),
    )


def _count(marks: Tensor) -> Tensor:
    return ops.sum(ops.cast(marks, "float32"))


def _is_float(x: Any) -> bool:
    if not hasattr(x, "shape") or not hasattr(x, "dtype"):
        return False
    return keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(x.dtype)
    )
