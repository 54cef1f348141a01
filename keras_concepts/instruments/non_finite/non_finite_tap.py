"""The first NaN or infinity of a training run, step by step."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.non_finite.non_finite_pass import (
    EVENT_COLUMNS,
    LABELS,
    event_count,
    nonfinite_events,
)
from keras_concepts.instruments.norms import nonfinite_entries
from keras_concepts.instruments.owners import OwnerNames, owner_names
from keras_concepts.instruments.recorded_calls import visible_layers
from keras_concepts.instruments.step.step_record import (
    StepRecord,
    isolated_copies,
)

# Loss; whether it, a gradient or a weight is not finite.
_STEP_COLUMNS = 4
# Variables and what they held before the step.
Values: TypeAlias = list[tuple[Any, Tensor]]
_UNSEEN = " (the layers could not be looked at: it may have come from one)"


@dataclasses.dataclass(frozen=True)
class Fault:
    """What was not finite first in a step.

    Attributes:
        kind: `"input"`, `"activation"`, `"loss"`, `"gradient"` or `"weight"`.
        layer: Path of the layer or variable, name of an operation, `"x"`, `"y"`
            or `"sample_weight"`; `""` for the loss.
        count: How many entries were not finite.
        where: In words.
    """

    kind: str
    layer: str
    count: int
    where: str


class NonFiniteSamples(NamedTuple):
    """What a tap measured in consecutive steps.

    Attributes:
        steps: Their numbers, `(n,)`.
        loss: Of the batch, `(n,)`.
        skipped: Whether loss scaling left the step out, `(n,)`.
        faults: What was first in each step, or `None`.
    """

    steps: np.ndarray
    loss: np.ndarray
    skipped: np.ndarray
    faults: list[Fault | None]


class NonFiniteTap:
    """Checks loss, gradients and weights of each step on the device.

    Only if one of them is not finite, the batch runs through the model once
    more, inside the same compiled step, to find the layer.

    Args:
        model: A compiled model.
        capacity: Number of steps to keep on the device.
    """

    def __init__(self, model: Any, *, capacity: int) -> None:
        self.model = model
        self.capacity = capacity
        self.sees_layers = True
        self.skips = isinstance(
            model.optimizer, keras.optimizers.LossScaleOptimizer
        )

    @functools.cached_property
    def variables(self) -> list[Any]:
        """Those that the model trains."""
        return list(self.model.trainable_variables)

    @functools.cached_property
    def layers(self) -> list[Any]:
        """Layers and operations whose inputs and outputs are looked at."""
        return visible_layers(self.model)

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        return _backend.StepBuffer(self.capacity, self._width, 0)

    @property
    def _width(self) -> int:
        events = EVENT_COLUMNS * event_count(self.layers)
        return _STEP_COLUMNS + events + 3 * len(self.variables)

    @functools.cached_property
    def _names(self) -> OwnerNames:
        return owner_names(self.model, self.variables)

    @contextlib.contextmanager
    def capture(self, step: StepRecord) -> Iterator[Values]:
        """Captures what is not trained and its values before the step."""
        values = step.untrained
        if values is None:
            values = [
                (variable, _backend.snapshot(variable))
                for variable in _backend.changing_variables(step.model)
            ]
        yield values

    def record(self, step: StepRecord, captured: Values) -> None:
        """Adds a step to the buffer, inside the step."""
        gradients, before, after, loss = isolated_copies(step)
        present = [gradient for gradient in gradients if gradient is not None]
        finite = ops.isfinite(ops.zeros(()) if loss is None else loss)
        bad = ops.stack([~finite, ~_all_finite(present), ~_all_finite(after)])
        counts = functools.partial(
            self._counts, step, [before, gradients, after]
        )
        details = self._details(ops.any(bad), step, captured, counts)
        row = [ops.reshape(np.nan if loss is None else loss, (1,)), bad]
        row = [ops.cast(part, "float32") for part in (*row, details)]
        self.buffer.append(ops.concatenate(row), ops.zeros((0,)))

    def _details(
        self,
        bad: Tensor,
        step: StepRecord,
        untrained: Values,
        counts: Callable[[], Tensor],
    ) -> Tensor:
        width = self._width - _STEP_COLUMNS
        nowhere = ops.zeros((EVENT_COLUMNS * event_count(self.layers),))

        def nothing() -> Tensor:
            return ops.zeros((width,))

        def with_layers() -> Tensor:
            trained = zip(
                step.variables, _backend.isolate(step.before), strict=True
            )
            events = nonfinite_events(
                self.model, self.layers, [*trained, *untrained], step.batch
            )
            return ops.concatenate([ops.reshape(events, (-1,)), counts()])

        def without_layers() -> Tensor:
            return ops.concatenate([nowhere, counts()])

        try:
            return _backend.choose_rarely(bad, with_layers, nothing)
        except Exception:
            # A custom model may not allow a second pass, or a layer may be
            # called in a trace that nothing may leave. Training must go on,
            # and the loss or gradient that failed is known without it.
            self.sees_layers = False
            return _backend.choose_rarely(bad, without_layers, nothing)

    def _counts(self, step: StepRecord, tensors: list[list[Any]]) -> Tensor:
        position = {id(v): i for i, v in enumerate(step.variables)}
        found = []
        for values in tensors:
            for variable in self.variables:
                i = position.get(id(variable))
                value = None if i is None else values[i]
                found.append(
                    ops.zeros(()) if value is None else nonfinite_entries(value)
                )
        return ops.stack(found)

    def read(self, steps: Sequence[int]) -> NonFiniteSamples:
        """Fetches the measured steps, whose numbers are given, and clears."""
        rows, _, count = self.buffer.read()
        self.buffer.clear()
        rows = np.array(rows[:count], np.float64)
        bad = rows[:, 1:_STEP_COLUMNS] > 0
        # By design: the scale was too large for the range of float16.
        skipped = bad[:, 1] & ~bad[:, 0] & ~bad[:, 2] & self.skips
        return NonFiniteSamples(
            np.asarray(steps, np.int64)[:count],
            rows[:, 0],
            skipped,
            [
                self._fault(row) if flags.any() else None
                for row, flags in zip(rows, bad, strict=True)
            ],
        )

    def _fault(self, row: np.ndarray) -> Fault | None:
        loss_bad = row[1] > 0
        split = _STEP_COLUMNS + EVENT_COLUMNS * event_count(self.layers)
        events = row[_STEP_COLUMNS:split].reshape(-1, EVENT_COLUMNS)
        before, gradients, after = row[split:].reshape(3, -1)
        paths = [self._names.of(variable) for variable in self.variables]
        if before.any():
            i = int(np.flatnonzero(before)[0])
            where = f"the weights {paths[i]}, already before this step"
            return Fault("weight", paths[i], int(before[i]), where)
        if events[:, 0].any():
            return self._first_event(events)
        if loss_bad:
            where = "the loss"
            where += ", of finite outputs" if self.sees_layers else _UNSEEN
            return Fault("loss", "", 1, where)
        if gradients.any():
            # Back-propagation comes to the last layer first.
            i = int(np.flatnonzero(gradients)[-1])
            where = f"the gradient of {paths[i]}, of a finite loss"
            where += "" if self.sees_layers else _UNSEEN
            return Fault("gradient", paths[i], int(gradients[i]), where)
        if after.any():
            i = int(np.flatnonzero(after)[0])
            where = f"the weights {paths[i]}, after a finite gradient"
            return Fault("weight", paths[i], int(after[i]), where)
        return None  # squares left the range of float32, and nothing else

    def _first_event(self, events: np.ndarray) -> Fault:
        order = np.where(events[:, 0] > 0, events[:, 0], np.inf)
        labels = 2 * len(self.layers)
        first = int(np.argmin(order))
        inputs = 2 * self._place_of_model()
        if order[inputs] < np.inf:
            first = inputs
        _, nan, infinite = events[first]
        count = int(nan + infinite)
        what = f"{int(nan)} NaN and {int(infinite)} infinite in"
        if first == inputs:
            return Fault("input", "x", count, f"{what} the inputs x")
        if first >= labels:
            name = LABELS[first - labels]
            return Fault("input", name, count, f"{what} {name}")
        layer = self.layers[first // 2]
        name = self._names.of(layer)
        if first % 2:
            where = f"{what} the output of {name}, of finite inputs"
        else:
            where = f"{what} the input of {name}, made by the code before it"
        return Fault("activation", name, count, where)

    def _place_of_model(self) -> int:
        return next(
            i for i, each in enumerate(self.layers) if each is self.model
        )


def _all_finite(tensors: list[Tensor]) -> Tensor:
    """False if there is a NaN or infinity; perhaps also if squares overflow."""
    if not tensors:
        return ops.all(ops.isfinite(ops.zeros(())))
    return ops.all(ops.isfinite(_backend.sums_of_squares(tensors)))
