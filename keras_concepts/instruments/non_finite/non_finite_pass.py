"""Where in a forward pass the first NaN or infinity arises."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.norms import nonfinite_entries
from keras_concepts.instruments.penalties.loss_parts import capture_added_losses


def nonfinite_inputs(batch: Any) -> Tensor:
    """NaN and infinite entries in the batch of a step.

    Args:
        batch: The batch of a training step.

    Returns:
        `(3, 2)`, for `x`, `y` and `sample_weight`. A batch with another
        structure counts as `x`.
    """
    try:
        parts = keras.utils.unpack_x_y_sample_weight(batch)
    except ValueError:
        parts = (batch, None, None)
    return ops.stack([ops.stack(_amounts(part)) for part in parts])


def nonfinite_penalties(variables: Sequence[Any], values: list[Any]) -> Tensor:
    """1 for each variable whose regularizer is not finite, else 0.

    Args:
        variables: Keras variables.
        values: Values to regularize, or `None`.
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
    """Runs a forward pass as in training and checks every tensor.

    The model and the random generators are not changed: assignments in the pass
    are discarded.

    Args:
        model: Keras model.
        layers: Layers and operations in it to check.
        values: Pairs of variables and the values to use for them.
        batch: The batch of a training step.

    Returns:
        `(2 * len(layers), 2)`: for the first non-finite input and output of
        each layer, in turns, its place in the order of the pass, counted from
        1, and its number of non-finite entries; 0 and 0 if all are finite. And
        `(len(layers),)`: the number of non-finite losses that each layer adds.
    """
    x, *_ = keras.utils.unpack_x_y_sample_weight(batch)
    found = _Looks(layers)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_backend.kept_state(model))
        stack.enter_context(_backend.fixed_randomness(0))
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
        _ = _backend.call_as_trainer(model, x, training=True)
    return found.events(), ops.stack(found.losses)


class _Looks:
    """Counts of entries that are not finite, in the order of a pass."""

    def __init__(self, layers: Sequence[Any]) -> None:
        self.losses = [ops.zeros((), "float32")] * len(layers)
        self._places = {id(layer): i for i, layer in enumerate(layers)}
        # The place of each check, and the index of its tensors.
        self._looks: list[tuple[int, list[int]]] = []
        self._numbers: dict[int, int] = {}
        self._counts: list[Tensor] = []
        self._kept: list[Tensor] = []  # so that their `id` is not reused

    def look_at(self, place: int, structure: Any) -> None:
        """Counts in some tensors, each of which is checked once."""
        tensors = [x for x in keras.tree.flatten(structure) if _is_float(x)]
        for x in tensors:
            if id(x) not in self._numbers:
                self._numbers[id(x)] = len(self._counts)
                self._counts.append(nonfinite_entries(x))
                self._kept.append(x)
        if tensors:
            numbers = [self._numbers[id(x)] for x in tensors]
            self._looks.append((place, numbers))

    def look_at_loss(self, kind: str, owner: int, value: Any) -> None:
        """Counts in a loss that a layer adds."""
        del kind
        place = self._places[owner]
        count = nonfinite_entries(ops.convert_to_tensor(value))
        self.losses[place] = self.losses[place] + count

    def events(self) -> Tensor:
        """See `nonfinite_layers`."""
        # One vector, since compilers are slow with many scalars.
        counts = ops.stack([*self._counts, ops.zeros((), "float32")])
        nothing = len(self._counts)
        found = ops.zeros((2 * len(self._places), 2), "float32")
        for looks in reversed(self._rounds()):
            order = [float(turn) for turn, _ in looks]
            width = max(len(numbers) for _, numbers in looks)
            table = [
                [*numbers, *[nothing] * (width - len(numbers))]
                for _, numbers in looks
            ]
            count = ops.sum(ops.take(counts, np.array(table)), axis=1)
            event = ops.stack(
                [ops.convert_to_tensor(order, "float32"), count], axis=1
            )
            found = ops.where(count[:, None] > 0, event, found)
        return found

    def _rounds(self) -> list[list[tuple[int, list[int]]]]:
        """The first checks at all places, then the second ones, and so on.

        For each, its number in the order of all checks, from 1, and its
        tensors.
        """
        rounds: list[list[tuple[int, list[int]]]] = []
        seen = [0] * (2 * len(self._places))
        for turn, (place, numbers) in enumerate(self._looks, 1):
            if seen[place] == len(rounds):
                rounds.append([(0, [])] * len(seen))
            rounds[seen[place]][place] = turn, numbers
            seen[place] += 1
        return rounds


def _observed(layer: Any, number: int, found: _Looks) -> Callable[..., Any]:
    original = layer.call

    def call(*args: Any, **kwargs: Any) -> Any:
        found.look_at(2 * number, (args, kwargs))
        outputs = original(*args, **kwargs)
        found.look_at(2 * number + 1, outputs)
        return outputs

    return call


def _amounts(structure: Any) -> tuple[Tensor, Tensor]:
    """Number of entries that are NaN, and that are infinite."""
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
