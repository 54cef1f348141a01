"""What the reports draw: quantities of variables over steps, as arrays."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import short_names

# Weights that act on each unit alone: one number a unit, no fan-in.
_VECTORS = {"bias", "gamma", "beta", "scale", "alpha"}


class History(NamedTuple):
    """RMS gradients of a training.

    Attributes:
        names: Short name of each of `v` variables, first layer first.
        paths: Path of each.
        steps: The `n` measured steps.
        epochs: Epoch of each step, `(n,)`.
        values: RMS gradient, `(v, n)`; NaN or infinite where it was not finite,
            NaN where there was none.
        missing: Whether there was no gradient at all, `(v, n)`.
    """

    names: list[str]
    paths: list[str]
    steps: np.ndarray
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
        whole = ends(self.paths) == (0, len(self.paths) - 1)
        return "layer" if whole else "kernel"

    def attenuation(self) -> float:
        """First kernel's gradient over the last's, median over the steps."""
        first, last = ends(self.paths)
        return median_ratio(self.values[first], self.values[last])


def gradient_history(
    recording: Recording, every_variable: bool = False
) -> History:
    """RMS gradients over all steps.

    Args:
        recording: Where to take them from.
        every_variable: Keep biases and the vectors of normalization layers,
            which are otherwise left out unless there is nothing else.
    """
    paths = _paths(recording, every_variable)
    rows = recording.select(quantity="gradient_rms")
    steps, first = np.unique(rows.step, return_index=True)
    # A variable without a gradient is recorded as NaN, and so is its count.
    values = over_steps(recording, "gradient_rms", paths, steps, absent=-1.0)
    counts = over_steps(
        recording, "gradient_nonfinite", paths, steps, absent=1.0
    )
    missing = (values < 0.0) | np.isnan(counts)
    return History(
        names=short_names(paths),
        paths=paths,
        steps=steps,
        epochs=rows.epoch[first],
        values=np.where(missing, np.nan, values),
        missing=missing,
    )


def _paths(recording: Recording, every_variable: bool) -> list[str]:
    paths = recording.select(quantity="gradient_rms").layers
    weights = [p for p in paths if p.rpartition("/")[2] not in _VECTORS]
    return paths if every_variable else weights or paths


def ends(paths: Sequence[str]) -> tuple[int, int]:
    """Which paths are the first and the last kernel (or, without, variable)."""
    kernels = [i for i, path in enumerate(paths) if path.endswith("kernel")]
    rows = kernels or range(len(paths))
    return rows[0], rows[-1]


def over_steps(
    recording: Recording,
    quantity: str,
    layers: Sequence[str],
    steps: np.ndarray,
    absent: float = np.nan,
) -> np.ndarray:
    """One quantity as an array of shape `(layers, steps)`.

    Args:
        recording: Where to take it from.
        quantity: Name of the quantity.
        layers: Paths.
        steps: Sorted steps, each once.
        absent: Stands where nothing was recorded.
    """
    values = np.full((len(layers), len(steps)), absent)
    row = {layer: i for i, layer in enumerate(layers)}
    series = [s for s in recording.select(quantity=quantity) if s.layer in row]
    if series:
        rows = np.repeat(
            [row[s.layer] for s in series], [len(s.steps) for s in series]
        )
        at = np.concatenate([s.steps for s in series])
        known = np.isin(at, steps)
        columns = np.searchsorted(steps, at[known])
        values[rows[known], columns] = np.concatenate(
            [s.values for s in series]
        )[known]
    return values


def last_epoch(recording: Recording) -> Recording:
    """The rows of the last epoch; of several trainings, of the last one's."""
    epochs, steps = recording.epoch, recording.step
    if not len(steps):
        return recording
    last = epochs[np.argmax(steps)]
    before = steps[epochs != last]
    start = before.max() + 1 if len(before) else 0
    rows = Recording(metadata=recording.metadata)
    for epoch, layer, quantity, at, values in recording.select(epoch=last):
        kept = at >= start
        rows.append(epoch, layer, quantity, at[kept], values[kept])
    return rows


def median(values: np.ndarray) -> float:
    """Median of the finite values, NaN if there is none."""
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else np.nan


def median_ratio(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Median of the quotients that are finite, NaN if there is none."""
    usable = np.isfinite(denominator) & (denominator > 0.0)
    return median(numerator[usable] / denominator[usable])
