"""The first NaN or infinity of a training run, step by step."""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.batch_statistics import is_synchronized
from keras_concepts._types import Tensor
from keras_concepts.instruments.non_finite.fault import (
    INPUTS,
    Fault,
    first_fault,
)
from keras_concepts.instruments.non_finite.non_finite_pass import (
    nonfinite_inputs,
    nonfinite_layers,
    nonfinite_penalties,
)
from keras_concepts.instruments.norms import nonfinite_entries
from keras_concepts.instruments.owners import OwnerNames, owner_names
from keras_concepts.instruments.recorded_calls import visible_layers
from keras_concepts.instruments.step.replicas import (
    mean_over_replicas,
    read_replicas,
)
from keras_concepts.instruments.step.step_record import (
    StepRecord,
    Update,
)

# Loss and samples of the batch; whether the loss, a gradient or a weight is not
# finite; whether the loss and a gradient are known.
_STEP_COLUMNS = 7
# Variables and their values before the step.
Values: TypeAlias = list[tuple[Any, Tensor]]


class NonFiniteSamples(NamedTuple):
    """Measurements of a tap in consecutive steps.

    Attributes:
        steps: Their numbers, `(n,)`.
        loss: Loss of the batch, `(n,)`.
        skipped: Whether loss scaling skipped the step, `(n,)`.
        faults: The first fault in each step, or `None`.
    """

    steps: np.ndarray
    loss: np.ndarray
    skipped: np.ndarray
    faults: list[Fault | None]


class NonFiniteTap:
    """Checks loss, gradients and weights of each step on the device.

    If one of them is not finite, and only then, the batch runs through the
    model once more, inside the same compiled step, to find the layer.

    Args:
        model: A compiled model.
        capacity: Number of steps to keep on the device.
    """

    def __init__(self, model: Any, *, capacity: int) -> None:
        self.model = model
        self.capacity = capacity
        self.sees_layers = True
        self.skips = _scales(model.optimizer)

    @functools.cached_property
    def variables(self) -> list[Any]:
        """The variables that the model trains."""
        return list(self.model.trainable_variables)

    @functools.cached_property
    def layers(self) -> list[Any]:
        """Layers and operations whose inputs and outputs are checked."""
        return visible_layers(self.model)

    @functools.cached_property
    def _waits_for_replicas(self) -> bool:
        """Whether a layer computes something from all replicas together."""
        return _backend.replica_count(self.model) > 1 and any(
            isinstance(layer, keras.layers.BatchNormalization)
            and is_synchronized(layer)
            for layer in _backend.flatten_layers(self.model)
        )

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        return _backend.StepBuffer(self.capacity, self._width, 0)

    @functools.cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The parts of a row for a non-finite step, by name."""
        layers, variables = len(self.layers), len(self.variables)
        return {
            "inputs": (len(INPUTS), 2),
            "layers": (2 * layers, 2),
            "added_losses": (layers,),
            "penalties": (variables,),
            "before": (variables,),
            "gradients": (variables,),
            "after": (variables,),
        }

    @property
    def _width(self) -> int:
        return _STEP_COLUMNS + sum(map(math.prod, self._shapes.values()))

    @functools.cached_property
    def _names(self) -> OwnerNames:
        return owner_names(self.model, self.variables)

    @contextlib.contextmanager
    def capture(self, step: StepRecord) -> Iterator[Values]:
        """Captures the untrained variables and their values before the step."""
        values = step.untrained
        if values is None:
            values = [
                (variable, _backend.snapshot(variable))
                for variable in _backend.changing_variables(step.model)
            ]
        yield values

    def record(self, step: StepRecord, captured: Values) -> None:
        """Adds a step to the buffer, inside the step."""
        update = step.update
        self.skips = any(map(_scales, update.optimizers))
        isolated = step.isolated
        gradients, loss = isolated.gradients, isolated.loss
        present = [gradient for gradient in gradients if gradient is not None]
        known = [float(loss is not None), float(len(present) > 0)]
        loss = ops.full((), 0.0, "float32") if loss is None else loss
        bad = ops.stack(
            [
                ~ops.isfinite(loss),
                ~_all_finite(present),
                ~_all_finite(isolated.after),
            ]
        )
        tensors = [
            self._in_order(update, values)
            for values in (isolated.before, gradients, isolated.after)
        ]
        details = self._details(ops.any(bad), step, captured, tensors)
        row = [ops.stack([loss, _float32(step.batch_size)]), bad, known]
        row = [ops.cast(part, "float32") for part in (*row, details)]
        self.buffer.append(ops.concatenate(row), ops.zeros((0,), "float32"))

    def _in_order(self, update: Update, values: Sequence[Any]) -> list[Any]:
        """The values of `self.variables`, `None` for those not updated."""
        position = {id(v): i for i, v in enumerate(update.variables)}
        places = [position.get(id(variable)) for variable in self.variables]
        return [None if i is None else values[i] for i in places]

    def _details(
        self,
        bad: Tensor,
        step: StepRecord,
        untrained: Values,
        tensors: list[list[Any]],
    ) -> Tensor:
        before, *_ = tensors
        trained = [
            (variable, value)
            for variable, value in zip(self.variables, before, strict=True)
            if value is not None
        ]

        def nothing() -> Tensor:
            return ops.zeros((self._width - _STEP_COLUMNS,), "float32")

        def joined(events: Tensor, losses: Tensor) -> Tensor:
            parts = [
                nonfinite_inputs(step.batch),
                events,
                losses,
                nonfinite_penalties(self.variables, before),
                *map(_counts, tensors),
            ]
            parts = [ops.cast(ops.reshape(x, (-1,)), "float32") for x in parts]
            return ops.concatenate(parts)

        def with_layers() -> Tensor:
            return joined(
                *nonfinite_layers(
                    self.model, self.layers, [*trained, *untrained], step.batch
                )
            )

        def without_layers() -> Tensor:
            shapes = (self._shapes["layers"], self._shapes["added_losses"])
            return joined(*map(ops.zeros, shapes))

        # The pass would change an unbuilt model; and in a conditional, replicas
        # cannot wait for each other.
        if not self.model.built or self._waits_for_replicas:
            self.sees_layers = False
            return _backend.choose_rarely(bad, without_layers, nothing)
        try:
            return _backend.choose_rarely(bad, with_layers, nothing)
        except Exception:
            # A custom model may not allow a second pass, or a layer may be
            # called in a trace that no tensor may leave. Training must go on,
            # and the failed loss or gradient is known without the pass.
            self.sees_layers = False
            return _backend.choose_rarely(bad, without_layers, nothing)

    def read(self, steps: Sequence[int]) -> NonFiniteSamples:
        """Fetches the measured steps, with the given numbers, and clears."""
        replicas, _, count = read_replicas(self.buffer)
        rows = self._merged(replicas)
        bad = rows[:, 2:5] > 0
        # Intended: the scale was too large for the range of float16.
        skipped = bad[:, 1] & ~bad[:, 0] & ~bad[:, 2] & self.skips
        return NonFiniteSamples(
            np.asarray(steps, np.int64)[:count],
            np.where(rows[:, 5] > 0, rows[:, 0], np.nan),
            skipped,
            [
                self._fault(row) if flags.any() else None
                for row, flags in zip(rows, bad, strict=True)
            ],
        )

    def _merged(self, replicas: np.ndarray) -> np.ndarray:
        """Rows of the whole batch, from those of each replica's share."""
        if len(replicas) == 1:
            return replicas[0]
        merged = replicas.max(axis=0)
        loss, sizes = replicas[..., 0], replicas[..., 1]
        merged[:, 0] = mean_over_replicas(loss, sizes)
        merged[:, 1] = sizes.sum(axis=0)
        parts = self._details_of(replicas)
        into = self._details_of(merged)
        for name in ("inputs", "added_losses"):
            into[name][:] = parts[name].sum(axis=0)
        turn, count = np.moveaxis(parts["layers"], -1, 0)
        first = np.where(turn > 0, turn, np.inf).min(axis=0)
        into["layers"][..., 0] = np.where(np.isinf(first), 0.0, first)
        into["layers"][..., 1] = np.where(turn == first, count, 0.0).sum(axis=0)
        return merged

    def _details_of(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Views of the parts of `rows`, `(..., width)`, for a bad step."""
        details, start = {}, _STEP_COLUMNS
        for name, shape in self._shapes.items():
            end = start + math.prod(shape)
            details[name] = rows[..., start:end].reshape(
                (*rows.shape[:-1], *shape)
            )
            start = end
        return details

    def _fault(self, row: np.ndarray) -> Fault | None:
        details = self._details_of(row)
        _, _, bad_loss, _, _, has_loss, has_gradients = row[:_STEP_COLUMNS]
        return first_fault(
            details,
            loss_is_bad=bad_loss > 0,
            has_loss=has_loss > 0,
            has_gradients=has_gradients > 0,
            saw_layers=self.sees_layers,
            variables=[self._names.of(v) for v in self.variables],
            layers=[self._names.of(layer) for layer in self.layers],
        )


def _scales(optimizer: Any) -> bool:
    return isinstance(optimizer, keras.optimizers.LossScaleOptimizer)


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")


def _counts(values: list[Any]) -> Tensor:
    """Number of non-finite entries of each tensor; 0 for `None`."""
    return ops.stack(
        [
            ops.zeros((), "float32") if x is None else nonfinite_entries(x)
            for x in values
        ]
    )


def _all_finite(tensors: list[Tensor]) -> Tensor:
    """False if there is a NaN or infinity; perhaps also if squares overflow."""
    if not tensors:
        return ops.all(ops.isfinite(ops.zeros((), "float32")))
    return ops.all(ops.isfinite(_backend.sums_of_squares(tensors)))
