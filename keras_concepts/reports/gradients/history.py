"""Gradients of variables over all steps, as arrays."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts import derived
from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import layer_names, short_names
from keras_concepts.reports.selection import over_steps


class _Facts(NamedTuple):
    layer: str
    role: str
    size: int


class History(NamedTuple):
    """RMS gradients of one or several runs.

    Attributes:
        names: Short name of each of `v` variables, first layer first.
        paths: Path of each variable.
        steps: The `n` measured steps, in order of runs.
        runs: Run of each step, `(n,)`.
        epochs: Epoch of each step, from 0, `(n,)`.
        values: RMS gradient, `(v, n)`; NaN or infinite where it was not finite,
            NaN where there was none.
        missing: Whether there was no gradient at all, `(v, n)`.
        places: Where each step is drawn, `(n,)`: at its number, or further to
            the right if an earlier run already has this step, such as one
            recorded at the same time.
        recorded: Whether the variable has a row at the step, `(v, n)`.
        layers: Layer of each variable.
        roles: Role of each variable in its layer, such as `quantities.WEIGHT`.
        sizes: Number of entries of each, `(v,)`.
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
    layers: list[str]
    roles: list[str]
    sizes: np.ndarray

    @property
    def nonfinite(self) -> np.ndarray:
        """Whether the gradient held a NaN or an infinity, `(v, n)`."""
        return ~np.isfinite(self.values) & ~self.missing

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
        """Only the last run if another has other variables, else all runs.

        First and last layer are the same in all of its runs.
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
            layers=[self.layers[row] for row in rows],
            roles=[self.roles[row] for row in rows],
            sizes=self.sizes[rows],
        )

    @property
    def ends(self) -> tuple[list[int], list[int]]:
        """Rows of the weights of the first and of the last layer."""
        return derived.ends(self.paths, layers=self.layers, roles=self.roles)

    def joint(self, rows: Sequence[int]) -> np.ndarray:
        """RMS gradient of all entries of these rows, `(n,)`."""
        return derived.joint_rms(self.values, rows, self.sizes)

    def attenuation(self) -> float:
        """First layer's gradient over the last's, median over the steps."""
        return derived.attenuation(
            self.paths,
            self.values,
            layers=self.layers,
            roles=self.roles,
            sizes=self.sizes,
        )

    def name_of(self, rows: Sequence[int]) -> str:
        """Name of the layer whose weights are in these rows."""
        if len(rows) == 1:
            return self.names[rows[0]]
        layers = list(dict.fromkeys(self.layers))
        return layer_names(layers)[layers.index(self.layers[rows[0]])]


def gradient_history(rows: Recording, every_variable: bool = False) -> History:
    """RMS gradients over all steps.

    Args:
        rows: Rows of one monitor.
        every_variable: Keep biases and the vectors of normalization layers,
            which are otherwise left out unless there is nothing else.
    """
    facts = _facts_of(rows)
    gradients = rows.select(quantity=q.GRADIENT_RMS)
    # A custom loop may have appended a tap's samples without steps.
    paths = gradients.owners if len(gradients) else []
    if not every_variable:
        weights = [path for path in paths if facts[path].role != q.VECTOR]
        paths = weights or paths
    every_run = [np.full(len(s.steps), s.run) for s in gradients]
    # Two runs recorded at the same time have steps in common.
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
        layers=[facts[path].layer for path in paths],
        roles=[facts[path].role for path in paths],
        sizes=np.array([facts[path].size for path in paths]),
    )


def _side_by_side(runs: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Steps that never decrease: a run that goes back is moved as a whole."""
    places = steps.copy()
    within = np.diff(steps)[np.diff(runs) == 0]
    gap = within.min() if len(within) else 1
    for begin in np.flatnonzero(np.diff(runs)) + 1:
        end = places[begin - 1]
        moved = end + gap - steps[begin] if steps[begin] <= end else 0
        places[begin:] = steps[begin:] + moved
    return places


def _facts_of(rows: Recording) -> dict[str, _Facts]:
    """What the run, or else the path, says about each variable."""
    known = {
        each["path"]: _Facts(
            each["layer"] or each["path"].rpartition("/")[0],
            each["role"],
            math.prod(each["shape"]),
        )
        for run in rows.runs
        for each in run.facts.get("variables", ())
        if "role" in each
    }
    return {
        path: known.get(path)
        or _Facts(path.rpartition("/")[0], derived.role_by_name(path), 1)
        for path in rows.select(quantity=q.GRADIENT_RMS).owners
    }
