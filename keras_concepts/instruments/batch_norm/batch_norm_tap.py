"""Measuring batch against moving statistics inside a training step."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._batch_norm import batch_against_moving
from keras_concepts._types import Tensor
from keras_concepts.instruments.batch_norm.capture_batches import (
    batch_norm_layers,
    hear_batches,
)
from keras_concepts.instruments.owners import named
from keras_concepts.instruments.step.capture_updates import Heard


@contextlib.contextmanager
def hear_batch_norms(
    model: Any, loss_tracker: Any, shifts: dict[tuple[int, int], Any]
) -> Iterator[None]:
    """Gathers in `shifts` what a step does to batch normalization.

    The keys are `(id(layer), call)`, the values `Shift`, against the moving
    statistics as the call found them. Frozen layers are not heard.

    Args:
        model: A compiled model.
        loss_tracker: Metric that receives the loss, or `None`.
        shifts: Dictionary to fill. Read it after the step.
    """

    def hear(layer: Any, inputs: Tensor, mask: Tensor | None) -> None:
        if _backend.in_symbolic_scope():  # a model is built by its first step
            return
        calls = sum(owner == id(layer) for owner, _ in shifts)
        shifts[id(layer), calls] = batch_against_moving(layer, inputs, mask)

    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _backend.out_of_gradient(model, loss_tracker, shifts)
        )
        for layer in batch_norm_layers(_backend.flatten_layers(model)):
            stack.enter_context(
                hear_batches(layer, functools.partial(hear, layer))
            )
        yield


class ChannelShifts(NamedTuple):
    """Means over the measured batches of one layer, in float64.

    Attributes:
        path: Of the layer; the second of the same path is `path (2)`.
        momentum: Of its moving statistics.
        calls: Training batches in a step; 0 if it is frozen or not used.
        mean_shift: See `Shift`, signed, `(channels,)`.
        log_variance_ratio: The same.
    """

    path: str
    momentum: float
    calls: float
    mean_shift: np.ndarray
    log_variance_ratio: np.ndarray


@dataclasses.dataclass
class BatchNormSamples:
    """What a tap measured since it was last read, on the host.

    Attributes:
        layers: Batch normalization layers.
        steps: Measured steps, of shape `(n,)`.
        values: `(n, sum of 3 * channels)`.
    """

    layers: list[Any]
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Several in a row of one tap as one."""
        return dataclasses.replace(
            samples[0],
            steps=np.concatenate([s.steps for s in samples]),
            values=np.concatenate([s.values for s in samples]),
        )

    def shifts(self) -> list[ChannelShifts]:
        """Of each layer, the means over the steps."""
        found, start = [], 0
        for layer, path in named(self.layers):
            end = start + 3 * _channels(layer)
            rows = self.values[:, start:end].reshape(len(self.steps), 3, -1)
            start = end
            totals, calls = rows.sum(axis=0), rows[:, 2].sum(axis=0)
            with np.errstate(invalid="ignore"):  # 0 / 0
                shift, ratio = totals[:2] / calls
            often = float(calls.max() / len(self.steps))
            found.append(
                ChannelShifts(path, layer.momentum, often, shift, ratio)
            )
        return found


class BatchNormTap:
    """Keeps of each step the shift of each channel.

    Args:
        model: A compiled model.
        capacity: Number of steps to keep on the device.
    """

    def __init__(self, model: Any, *, capacity: int) -> None:
        self.capacity = capacity
        self.layers = batch_norm_layers(_backend.flatten_layers(model))

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        columns = sum(3 * _channels(layer) for layer in self.layers)
        return _backend.StepBuffer(self.capacity, columns, 0)

    def record(self, heard: Heard) -> None:
        """Adds what a step did, inside the step."""
        row = []
        for layer in self.layers:
            calls = [
                ops.concatenate(list(shift))
                for (owner, _), shift in heard.batch_norms.items()
                if owner == id(layer)
            ]
            row.append(sum(calls, ops.zeros(3 * _channels(layer))))
        self.buffer.append(ops.concatenate(row), ops.zeros((0,)))

    def read(self, steps: Sequence[int]) -> BatchNormSamples:
        """Fetches the measured steps, whose numbers are given, and clears."""
        rows, _, count = self.buffer.read()
        self.buffer.clear()
        return BatchNormSamples(
            self.layers,
            np.asarray(steps, np.int64)[:count],
            np.array(rows[:count], np.float64),
        )


def _channels(layer: Any) -> int:
    return layer.moving_mean.shape[0]
