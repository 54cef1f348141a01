"""Batch statistics compared with moving ones, inside the training step."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.batch_statistics import (
    NormalizedBatch,
    shift_of,
)
from keras_concepts._types import Tensor
from keras_concepts.instruments.batch_norm.capture_batches import (
    batch_norm_layers,
    capture_batches,
)
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.step.replicas import read_replicas
from keras_concepts.instruments.step.step_record import StepRecord

# By `id` of the layer and number of the call.
Batches: TypeAlias = dict[tuple[int, int], NormalizedBatch]


@contextlib.contextmanager
def capture_batch_norms(step: StepRecord) -> Iterator[Batches]:
    """Captures the inputs of batch normalization inside the with-block.

    Layers in inference mode are left out.

    Args:
        step: The step, whose `model` is known.

    Yields:
        The batches, complete after the with-block.
    """
    batches: Batches = {}

    def record(layer: Any, inputs: Tensor, mask: Tensor | None) -> None:
        if _backend.in_symbolic_scope():  # the first step builds a model
            return
        calls = sum(owner == id(layer) for owner, _ in batches)
        batches[id(layer), calls] = NormalizedBatch.of(layer, inputs, mask)

    with contextlib.ExitStack() as stack:
        for layer in batch_norm_layers(_backend.flatten_layers(step.model)):
            stack.enter_context(
                capture_batches(layer, functools.partial(record, layer))
            )
        yield batches
    step.drop_hidden(batches)


class ChannelShifts(NamedTuple):
    """Means over the measured batches of one layer, in float64.

    Attributes:
        path: Name of the layer; see `owner_names`.
        momentum: Momentum of its moving statistics.
        calls: Training batches per step; 0 if the layer is never called in
            training mode.
        frozen: Whether its `trainable` is `False`.
        mean_shift: See `Shift`, signed, `(channels,)`.
        log_variance_ratio: The same.
    """

    path: str
    momentum: float
    calls: float
    frozen: bool
    mean_shift: np.ndarray
    log_variance_ratio: np.ndarray


@dataclasses.dataclass
class BatchNormSamples:
    """Measurements of a tap since it was last read, on the host.

    Attributes:
        layers: Batch normalization layers.
        names: Their names.
        steps: Measured steps, of shape `(n,)`.
        values: `(n, sum of 3 * channels)`.
    """

    layers: list[Any]
    names: list[str]
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Consecutive samples of one tap as one."""
        return dataclasses.replace(
            samples[0],
            steps=np.concatenate([s.steps for s in samples]),
            values=np.concatenate([s.values for s in samples]),
        )

    def shifts(self) -> list[ChannelShifts]:
        """Means over the steps, for each layer."""
        found, start = [], 0
        for layer, path in zip(self.layers, self.names, strict=True):
            end = start + 3 * _channels(layer)
            rows = self.values[:, start:end].reshape(len(self.steps), 3, -1)
            start = end
            totals, calls = rows.sum(axis=0), rows[:, 2].sum(axis=0)
            with np.errstate(invalid="ignore"):  # 0 / 0
                shift, ratio = totals[:2] / calls
            often = float(calls.max() / len(self.steps))
            found.append(
                ChannelShifts(
                    path,
                    layer.momentum,
                    often,
                    not layer.trainable,
                    shift,
                    ratio,
                )
            )
        return found


class BatchNormTap:
    """Records the shift of each channel in each step.

    Args:
        model: A compiled model.
        capacity: Number of steps to keep on the device.
    """

    def __init__(self, model: Any, *, capacity: int) -> None:
        self.model = model
        self.capacity = capacity

    @functools.cached_property
    def layers(self) -> list[Any]:
        """The batch normalization layers of the model."""
        found = batch_norm_layers(_backend.flatten_layers(self.model))
        # A layer that was never called has no statistics.
        return [layer for layer in found if layer.moving_mean is not None]

    @functools.cached_property
    def _names(self) -> list[str]:
        names = owner_names(self.model)
        return [names.of(layer) for layer in self.layers]

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        columns = sum(3 * _channels(layer) for layer in self.layers)
        return _backend.StepBuffer(self.capacity, columns, 0)

    def capture(
        self, step: StepRecord
    ) -> contextlib.AbstractContextManager[Batches]:
        """Captures the input batch of each layer."""
        return capture_batch_norms(step)

    def record(self, step: StepRecord, captured: Batches) -> None:
        """Adds a step to the buffer, inside the step."""
        del step
        row = [ops.zeros((0,), "float32")]  # there may be no layer
        for layer in self.layers:
            calls = [
                ops.concatenate(list(shift_of(layer, batch)))
                for (owner, _), batch in captured.items()
                if owner == id(layer)
            ]
            row.append(sum(calls, ops.zeros(3 * _channels(layer), "float32")))
        self.buffer.append(ops.concatenate(row), ops.zeros((0,), "float32"))

    def read(self, steps: Sequence[int]) -> BatchNormSamples:
        """Fetches the measured steps, with the given numbers, and clears."""
        rows, _, count = read_replicas(self.buffer)
        return BatchNormSamples(
            self.layers,
            self._names,
            np.asarray(steps, np.int64)[:count],
            self._merged(rows),
        )

    def _merged(self, rows: np.ndarray) -> np.ndarray:
        """Sums over the calls of means over the replicas, `(steps, columns)`.

        Args:
            rows: Sums over the calls, `(replicas, steps, columns)`.
        """
        if len(rows) == 1:
            return rows[0]
        merged, start = [], 0
        for layer in self.layers:
            end = start + 3 * _channels(layer)
            shift, ratio, calls = np.split(rows[..., start:end], 3, axis=-1)
            start = end
            # A replica whose share is empty does not count.
            often = calls.max(axis=0)
            share = often / np.maximum(calls.sum(axis=0), 1.0)
            merged += [shift.sum(axis=0) * share, ratio.sum(axis=0) * share]
            merged.append(often)
        return np.concatenate([np.zeros((rows.shape[1], 0)), *merged], axis=-1)


def _channels(layer: Any) -> int:
    return layer.moving_mean.shape[0]
