"""Recording the time steps of a recurrent layer."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
from keras import ops

from keras_concepts._numerics.activation_slopes import (
    Slope,
    activation_of,
    is_elementwise,
    slope_of,
)
from keras_concepts._shadow import shadow
from keras_concepts._types import Tensor

# Gates for which a cell calls `recurrent_activation`, in order.
_GATES = {
    keras.layers.LSTMCell: ("input", "forget", "output"),
    keras.layers.GRUCell: ("update", "reset"),
    keras.layers.SimpleRNNCell: (),
}


@dataclasses.dataclass
class RecurrentSteps:
    """What happened in a recurrent layer, step by step.

    All of shape `(batch, time, units)`, in the reading order of the layer: with
    `go_backwards` the last step of the input comes first.

    Attributes:
        states: Hidden state `h_t`.
        slope: Slope of the cell's `activation`, as a share of its steepest
            slope, or `None`: in a SimpleRNN at the state, in an LSTM at the
            carry, in a GRU at the candidate.
        gates: Value of each gate, from 0 to 1.
        gate_slopes: Slope of each gate, as a share of its steepest slope.
        mask: `(batch, time)`, false where the sequence is padded, or `None`.
        error: dL/dh_t, including all paths to the loss through later steps, or
            `None` without a loss.
        carry_error: For an LSTM also dL/dc_t, that of its carry.
    """

    states: Tensor
    slope: Tensor | None
    gates: dict[str, Tensor]
    gate_slopes: dict[str, Tensor]
    mask: Tensor | None
    error: Tensor | None = None
    carry_error: Tensor | None = None


def gates_of(layer: Any) -> tuple[str, ...] | None:
    """Names of the gates of a recurrent layer, or `None` if not known."""
    if isinstance(layer, keras.layers.RNN):
        for cell, names in _GATES.items():
            if isinstance(layer.cell, cell):
                return names
    return None


def step_slopes(layer: Any) -> tuple[Slope | None, Slope | None]:
    """Slopes of the `activation` and `recurrent_activation` of its cell."""
    return (
        _slope(activation_of(layer.cell)),
        _slope(activation_of(layer.cell, "recurrent_activation")),
    )


def _slope(function: Callable[[Tensor], Tensor] | None) -> Slope | None:
    if function is None or not is_elementwise(function):
        return None
    return slope_of(function)


@contextlib.contextmanager
def capture_steps(
    layer: Any,
    slopes: Sequence[Slope | None],
    zeros_of: Callable[[tuple[int, ...], Any], Tensor | None],
    record: Callable[[RecurrentSteps], None],
) -> Iterator[None]:
    """Calls `record` with the steps of each call of a recurrent layer.

    Args:
        layer: A layer for which `gates_of` knows the gates.
        slopes: `step_slopes(layer)`.
        zeros_of: From a shape and a dtype to the tensor that is added to the
            hidden states, or `None` to add nothing; for an LSTM, called again
            for the carry.
        record: Receives the steps, without errors.
    """
    names = gates_of(layer) or ()
    units = layer.cell.units
    # The state of an LSTM is two tensors.
    state_count = 2 if isinstance(layer.cell, keras.layers.LSTMCell) else 1
    gate_slopes = names if slopes[1] else ()
    blocks = 1 + bool(slopes[0]) + len(names) + len(gate_slopes)

    def inner_loop(
        sequences: Tensor, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        shape = (*sequences.shape[:2], units)
        added = [
            zeros_of(shape, layer.compute_dtype) for _ in range(state_count)
        ]
        added = [zeros for zeros in added if zeros is not None]
        if layer.go_backwards:
            added = [ops.flip(zeros, 1) for zeros in added]
        # A loop passes one tensor to each step, so they are concatenated.
        sequences = ops.concatenate([sequences, *added], axis=-1)
        stand_in = _StandIn(layer.cell, slopes, len(added), training)
        first, *others = keras.tree.flatten(initial_state)
        room = ops.repeat(ops.zeros_like(first), blocks - 1, axis=-1)
        first = ops.concatenate([first, room], axis=-1)
        with (
            shadow(layer, "cell", stand_in),
            shadow(layer, "return_sequences", True),
        ):
            # This avoids the fused loops of LSTM and GRU, which hide the steps.
            last, every, states = keras.layers.RNN.inner_loop(
                layer, sequences, [first, *others], mask, training
            )
        state, *inside = ops.split(every, blocks, axis=-1)
        slope = inside.pop(0) if slopes[0] else None
        backwards = mask is not None and layer.go_backwards
        record(
            RecurrentSteps(
                states=state,
                slope=slope,
                gates=dict(zip(names, inside, strict=False)),
                gate_slopes=dict(
                    zip(gate_slopes, inside[len(names) :], strict=True)
                ),
                mask=ops.flip(mask, 1) if backwards else mask,
            )
        )
        states = [states[0][..., :units], *states[1:]]
        return last[..., :units], state, states

    with shadow(layer, "inner_loop", inner_loop):
        yield


class _StandIn:
    """A cell whose first state also holds what happened inside the cell.

    The state as well as the output: for masked steps Keras replaces one by the
    other.
    """

    def __init__(
        self,
        cell: Any,
        slopes: Sequence[Slope | None],
        added: int,
        training: bool,
    ) -> None:
        self._cell = cell
        self._slope, self._gate_slope = slopes
        self._added = added
        self._training = training

    def __call__(self, inputs: Tensor, states: Any) -> Any:
        cell = self._cell
        size = inputs.shape[-1] - self._added * cell.units
        inputs, added = inputs[..., :size], inputs[..., size:]
        added = ops.split(added, self._added, axis=-1) if self._added else []
        with (
            _captured_calls(cell, "activation", added[1:]) as activations,
            _captured_calls(cell, "recurrent_activation") as gates,
        ):
            output, states = cell(
                inputs,
                [states[0][..., : cell.units], *states[1:]],
                training=self._training,
            )
        others = list(states)[1:]
        if added:
            output = output + added[0]
            others = [
                c + zeros for c, zeros in zip(others, added[1:], strict=True)
            ]
        inside = [output]
        if self._slope is not None:
            z, _ = activations[-1]
            inside.append(self._slope(z))
        inside += [gate for _, gate in gates]
        if self._gate_slope is not None:
            inside += [self._gate_slope(z) for z, _ in gates]
        output = ops.concatenate(inside, axis=-1)
        return output, [output, *others]


@contextlib.contextmanager
def _captured_calls(
    cell: Any, name: str, added_to_carry: Sequence[Tensor] = ()
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Argument and result of each call of a cell's activation function.

    `added_to_carry` is added to the argument of the second call: in an LSTM,
    the carry.
    """
    calls: list[tuple[Tensor, Tensor]] = []
    function = getattr(cell, name, None)
    if function is None:
        yield calls
        return

    def activation(z: Tensor) -> Tensor:
        if len(calls) == 1:
            z = sum(added_to_carry, z)
        value = function(z)
        calls.append((z, value))
        return value

    with shadow(cell, name, activation):
        yield calls
