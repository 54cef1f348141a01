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
        steps: The `n` measured steps, in order of runs.
        runs: Run of each step, `(n,)`.
        epochs: Epoch of each step, from 0, `(n,)`.
        values: RMS gradient, `(v, n)`; NaN or infinite where it was not finite,
            NaN where there was none.
        missing: Whether there was no gradient at all, `(v, n)`.
        places: Where each step is drawn, `(n,)`: at its number, or further to
            the right if an earlier run has come as far, as one that was
            recorded at the same time.
        recorded: Whether the variable has a row at the step, `(v, n)`.
    """

    names: list[str]
    paths: list[str]
    steps: np.ndarray
    runs: np.ndarray
    epochs: np.ndarray
    values: np.ndarray
    missing: np.ndarray
    places: np.ndarray
    recorded: np.ndarray

    @property
    def nonfinite(self) -> np.ndarray:
        """Whether the gradient held a NaN or an infinity, `(v, n)`."""
        return ~np.isfinite(self.values) & ~self.missing

    @property
    def kind(self) -> str:
        """What to call the ends: "layer" if they are, else "kernel"."""
        whole = derived.ends(self.paths) == (0, len(self.paths) - 1)
        return "layer" if whole else "kernel"

    @property
    def step_label(self) -> str:
        """Label of the axis of `places`."""
        moved = (self.places != self.steps).any()
        return "training step" + (", runs side by side" if moved else "")

    @property
    def models(self) -> dict[int, list[int]]:
        """Rows of the variables of each run that has one."""
        found = {
            int(run): self.recorded[:, self.runs == run].any(axis=1)
            for run in np.unique(self.runs)
        }
        return {
            run: np.flatnonzero(known).tolist()
            for run, known in found.items()
            if known.any()
        }

    def of_one_model(self) -> "History":
        """The last run alone if another has other variables, else all runs.

        First and last kernel are the same in all of its runs.
        """
        models = self.models
        last, rows = list(models.items())[-1]
        if all(other == rows for other in models.values()):
            return self
        at = self.runs == last
        return History(
            names=[self.names[row] for row in rows],
            paths=[self.paths[row] for row in rows],
            steps=self.steps[at],
            runs=self.runs[at],
            epochs=self.epochs[at],
            values=self.values[rows][:, at],
            missing=self.missing[rows][:, at],
            places=self.places[at],
            recorded=self.recorded[rows][:, at],
        )

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
    every_run = [np.full(len(s.steps), s.run) for s in gradients]
    # Two runs that are recorded at the same time have steps in common.
    every = np.array([np.concatenate([[], *every_run]), gradients.step], int)
    order = np.lexsort(every[::-1])
    changes = np.diff(every[:, order], prepend=-1).any(axis=0)
    first = order[changes]
    runs, steps = every[:, first]
    # A variable without a gradient is recorded as NaN, and so is its count.
    values = over_steps(rows, q.GRADIENT_RMS, paths, runs, steps, -1.0)
    counts = over_steps(rows, q.GRADIENT_NONFINITE, paths, runs, steps, 1.0)
    missing = (values < 0.0) | np.isnan(counts)
    return History(
        names=short_names(paths),
        paths=paths,
        steps=steps,
        runs=runs,
        epochs=gradients.epoch[first],
        values=np.where(missing, np.nan, values),
        missing=missing,
        places=_side_by_side(runs, steps),
        recorded=values != -1.0,
    )


def _side_by_side(runs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Steps that never fall: a run that would go back is moved as a whole."""
    places = steps.copy()
    within = np.diff(steps)[np.diff(runs) == 0]
    gap = within.min() if len(within) else 1
    for begin in np.flatnonzero(np.diff(runs)) + 1:
        end = places[begin - 1]
        moved = end + gap - steps[begin] if steps[begin] <= end else 0
        places[begin:] = steps[begin:] + moved
    return places


def _paths(rows: Recording, every_variable: bool) -> list[str]:
    paths = rows.select(quantity=q.GRADIENT_RMS).owners
    weights = [p for p in paths if p.rpartition("/")[2] not in _VECTORS]
    return paths if every_variable else weights or paths
