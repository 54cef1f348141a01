"""Gradients of variables over all steps, as arrays."""

from typing import NamedTuple

import numpy as np

from keras_concepts import derived
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import short_names
from keras_concepts.reports.selection import over_steps

# Weights that act on each unit alone: one number per unit, no fan-in.
_VECTORS = {"bias", "gamma", "beta", "scale", "alpha"}


class History(NamedTuple):
    """RMS gradients of one or several runs.

    Attributes:
        names: Short name of each of `v` variables, first layer first.
        paths: Path of each.
        steps: The `n` measured steps.
        runs: Run of each step, `(n,)`.
        epochs: Epoch of each step, from 0, `(n,)`.
        values: RMS gradient, `(v, n)`; NaN or infinite where it was not finite,
            NaN where there was none.
        missing: Whether there was no gradient at all, `(v, n)`.
    """

    names: list[str]
    paths: list[str]
    steps: np.ndarray
    runs: np.ndarray
    epochs: np.ndarray
    values: np.ndarray
    missing: np.ndarray

    @property
    def nonfinite(self) -> np.ndarray:
        """Whether the gradient held a NaN or an infinity, `(v, n)`."""
        return ~np.isfinite(self.values) & ~self.missing

    @property
    def kind(self) -> str:
        """What to call the ends: "layer" if they are, else "kernel"."""
        whole = derived.ends(self.paths) == (0, len(self.paths) - 1)
        return "layer" if whole else "kernel"

    def attenuation(self) -> float:
        """First kernel's gradient over the last's, median over the steps."""
        return derived.attenuation(self.paths, self.values)


def gradient_history(rows: Recording, every_variable: bool = False) -> History:
    """RMS gradients over all steps.

    Args:
        rows: Of one monitor.
        every_variable: Keep biases and the vectors of normalization layers,
            which are otherwise left out unless there is nothing else.
    """
    paths = _paths(rows, every_variable)
    gradients = rows.select(quantity=q.GRADIENT_RMS)
    runs = [np.full(len(s.steps), s.run) for s in gradients]
    steps, first = np.unique(gradients.step, return_index=True)
    # A variable without a gradient is recorded as NaN, and so is its count.
    values = over_steps(rows, q.GRADIENT_RMS, paths, steps, absent=-1.0)
    counts = over_steps(rows, q.GRADIENT_NONFINITE, paths, steps, absent=1.0)
    missing = (values < 0.0) | np.isnan(counts)
    return History(
        names=short_names(paths),
        paths=paths,
        steps=steps,
        runs=np.concatenate([np.zeros(0, int), *runs])[first],
        epochs=gradients.epoch[first],
        values=np.where(missing, np.nan, values),
        missing=missing,
    )


def _paths(rows: Recording, every_variable: bool) -> list[str]:
    paths = rows.select(quantity=q.GRADIENT_RMS).owners
    weights = [p for p in paths if p.rpartition("/")[2] not in _VECTORS]
    return paths if every_variable else weights or paths
