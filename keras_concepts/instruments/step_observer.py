"""Measuring the steps of one `fit` that a schedule asks for."""

from typing import Any

import numpy as np

from keras_concepts.instruments.gradient_tap import GradientSamples, GradientTap
from keras_concepts.instruments.listening import Heard
from keras_concepts.instruments.schedule import Schedule


class StepObserver:
    """Taps the steps of one `fit` that its schedule asks for.

    Args:
        model: A compiled model.
        schedule: Which steps to measure.
        capacity: Steps to hold on the device; when they are full, or the epoch
            ends, the host reads them.
        first_step: Number of the first step.
    """

    def __init__(
        self,
        model: Any,
        schedule: Schedule,
        capacity: int,
        first_step: int = 0,
    ) -> None:
        self.model = model
        self.schedule = schedule
        self.capacity = max(capacity, model.steps_per_execution)
        self.tap: GradientTap | None = None
        # A model without an input shape is built by its first step. (On JAX
        # and torch `fit` has built every model by now.)
        if model.built:
            _ = self._make_tap(model.trainable_variables)
        self._pending: list[int] = []
        self._read: list[GradientSamples] = []
        self._step = first_step
        self._epoch_start = first_step
        self._epoch_steps: int | None = None

    def _make_tap(self, variables: list[Any]) -> GradientTap:
        self.tap = GradientTap(
            self.model.optimizer, variables, capacity=self.capacity
        )
        return self.tap

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch of `steps` steps, or of unknown length."""
        if self._epoch_steps is not None:
            # Where one execution is several steps, the last may be cut short.
            self._step = self._epoch_start + self._epoch_steps
        self._epoch_start = self._step
        self._epoch_steps = steps
        self.schedule.begin_epoch(steps)

    def record(self, heard: Heard) -> None:
        """Measures a step, inside it."""
        tap = self.tap or self._make_tap(heard.variables)
        tap.record(heard)

    def make_room(self, steps: int) -> None:
        """Reads the device's buffer if `steps` more would not fit."""
        if len(self._pending) + steps > self.capacity:
            self._drain()

    def advance(self, steps: int, measured: bool) -> None:
        """Counts steps that were taken."""
        if measured:
            self._pending += range(self._step, self._step + steps)
        self._step += steps
        self.schedule.advance(steps, measured)

    def _drain(self) -> None:
        if self.tap is not None:
            self._read.append(self.tap.read(self._pending))
        self._pending = []

    def read(self) -> GradientSamples | None:
        """Everything measured since the last call."""
        self._drain()
        samples, self._read = self._read, []
        return _joined(samples) if samples else None


def _joined(samples: list[GradientSamples]) -> GradientSamples:
    first = samples[0]
    return GradientSamples(
        paths=first.paths,
        sizes=first.sizes,
        steps=np.concatenate([s.steps for s in samples]),
        loss=np.concatenate([s.loss for s in samples]),
        applied=np.concatenate([s.applied for s in samples]),
        values=np.concatenate([s.values for s in samples]),
        unit_peaks={
            layer: np.max([s.unit_peaks[layer] for s in samples], axis=0)
            for layer in first.unit_peaks
        },
    )
