"""What a rule may know about a training run: a recording up to a moment."""

import bisect
import functools
from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.quantities import Quantity
from keras_concepts.recording import Recording, Series
from keras_concepts.rules.finding import Position


class Curve(NamedTuple):
    """One quantity of one owner over time; `(n,)` each.

    Attributes:
        epochs: Epochs from 0, -1 for what was measured before training.
        steps: Steps taken before each measurement.
        values: float64.
        indices: Unit, class or channel; -1 for none.
    """

    epochs: np.ndarray
    steps: np.ndarray
    values: np.ndarray
    indices: np.ndarray

    def __bool__(self) -> bool:
        return len(self.values) > 0

    def at(self, i: int) -> Position:
        """When the i-th value was measured, in the form that findings use."""
        return max(int(self.epochs[i]), 0), int(self.steps[i])

    @property
    def finite(self) -> "Curve":
        """Only the finite values."""
        kept = np.isfinite(self.values)
        return Curve(*(column[kept] for column in self))

    def since(self, wrong: np.ndarray) -> Position:
        """When the last unbroken run of wrong values began.

        Args:
            wrong: Whether each value is wrong; the last one must be.
        """
        right = np.flatnonzero(~wrong)
        return self.at(int(right[-1]) + 1 if len(right) else 0)


# Value of a `checked` row after the last step.
ENDED = 2.0

_EMPTY = Curve(
    np.zeros(0, np.int64),
    np.zeros(0, np.int64),
    np.zeros(0),
    np.zeros(0, np.int64),
)


class Index:
    """Where in a recording the rows of each quantity and owner are.

    Args:
        recording: A recording, which may grow; `update` reads what is new.
        run: Number of the run to look at.
    """

    def __init__(self, recording: Recording, run: int) -> None:
        self.recording = recording
        self.run = run
        self._begin()

    def _begin(self) -> None:
        self.rows: dict[str, dict[str, tuple[list[int], list[Series]]]] = {}
        # For each quantity and owner, all rows so far, and how many of them its
        # first series, its first two, ... hold.
        self._joined: dict[tuple[str, str], tuple[Curve, np.ndarray]] = {}
        self.checks: list[tuple[int, Position]] = []
        self.size = 0
        self._gone = self._series_gone

    @property
    def _series_gone(self) -> int:
        return sum(run.gone for run in self.recording.runs)

    def update(self) -> Self:
        """Adds the rows that were recorded since the last call."""
        if self._gone != self._series_gone:  # some series were left out
            self._begin()
        series = self.recording._series
        runs = {run.number: run for run in self.recording.runs}
        names = runs[self.run].facts.get("doctor") if self.run in runs else None
        for place in range(self.size, len(series)):
            each = series[place]
            if each.run != self.run:
                continue
            # Monitors other than the doctor's may have measured the same.
            if names and each.monitor not in (*names, q.FIT):
                continue
            owners = self.rows.setdefault(each.quantity, {})
            places, found = owners.setdefault(each.owner, ([], []))
            places.append(place)
            found.append(each)
            if each.quantity == q.CHECKED:
                position = max(each.epoch, 0), int(each.steps[-1])
                self.checks.append((place, position))
        self.size = len(series)
        return self

    def keep_verdict(self, verdict: dict[str, Any]) -> None:
        """Stores in the recording what has been found so far.

        It cannot be found again once rows have been left out of the recording.
        """
        for run in self.recording.runs:
            if run.number == self.run:
                run.verdict = verdict

    @property
    def last_verdict(self) -> tuple[dict[str, Any], int]:
        """What was found before rows were left out, and how many series."""
        for run in self.recording.runs:
            if run.number == self.run and run.judged:
                return run.judged, run.judged_at
        return {}, 0

    @property
    def position(self) -> Position:
        """Last epoch of the run, and the last step that was measured in it."""
        series = [
            each
            for owners in self.rows.values()
            for _, found in owners.values()
            for each in found
        ]
        last = max((each.epoch for each in series), default=0)
        steps = (
            int(each.steps.max(initial=0))
            for each in series
            if each.epoch == last
        )
        return max(last, 0), max(steps, default=0)

    def curve(self, quantity: str, owner: str, end: int) -> Curve:
        """One quantity of one owner, in the first series of the recording.

        Args:
            quantity: Name of the quantity.
            owner: The owner.
            end: Number of series of the recording that count.
        """
        places, series = self.rows.get(quantity, {}).get(owner, ([], []))
        known = bisect.bisect_left(places, end)
        if not known:
            return _EMPTY
        joined = self._joined.get((quantity, owner))
        if joined is None or len(joined[1]) < known:
            joined = _joined(series, joined)
            self._joined[quantity, owner] = joined
        curve, ends = joined
        if known == len(ends):
            return curve
        return Curve(*(column[: ends[known - 1]] for column in curve))


def _joined(
    series: list[Series], before: tuple[Curve, np.ndarray] | None
) -> tuple[Curve, np.ndarray]:
    """All rows, and how many of them the first series hold.

    Args:
        series: Series of one quantity and owner.
        before: The result for the first of them, to continue from.
    """
    done = 0 if before is None else len(before[1])
    new = series[done:]
    lengths = [len(each.steps) for each in new]
    curve = Curve(
        np.repeat([each.epoch for each in new], lengths),
        np.concatenate([each.steps for each in new]),
        np.concatenate([each.values for each in new]),
        np.concatenate([each.index for each in new]),
    )
    ends = np.cumsum(lengths)
    if before is None:
        return curve, ends
    rows, known = before
    joined = Curve(*map(np.concatenate, zip(rows, curve, strict=True)))
    return joined, np.concatenate([known, ends + known[-1]])


_UNKNOWN_LOSSES = {
    "constant_loss": None,
    "uniform_loss": None,
    "perfect_loss": 0.0,
}


class Training:
    """A training run as far as it was known when the doctor checked it.

    Args:
        index: Index of the recording.
        end: Number of the recording's series that are known.
        position: When that was, `(epoch, step)`.

    Attributes:
        position: The argument.
        facts: Facts of the run; see `instruments.facts`.
    """

    def __init__(self, index: Index, end: int, position: Position) -> None:
        self._index = index
        self._end = end
        self.position = position
        runs = {run.number: run for run in index.recording.runs}
        self._run = runs.get(index.run)
        self.facts: dict[str, Any] = {} if not self._run else self._run.facts
        self._curves: dict[tuple[str, str], Curve] = {}

    @classmethod
    def of(cls, recording: Recording, run: int | None = None) -> "Training":
        """A whole run of a recording, by default the last."""
        index = Index(recording, recording.run if run is None else run)
        return cls.whole(index.update())

    @classmethod
    def whole(cls, index: Index) -> "Training":
        """All that an index knows of its run."""
        return cls(index, index.size, index.position)

    def curve(self, quantity: Quantity, owner: str = "") -> Curve:
        """One quantity of one owner.

        Without what a probe measured after the first NaN: if activations are
        NaN, every unit counts as saturated.
        """
        key = str(quantity), owner
        if key not in self._curves:
            self._curves[key] = self._made(*key)
        return self._curves[key]

    def _made(self, quantity: str, owner: str) -> Curve:
        curve = self._index.curve(quantity, owner, self._end)
        if not curve:
            return curve
        described = q.QUANTITIES.get(quantity)
        if described is None or described.cadence not in ("probe", "epoch"):
            return curve
        if quantity in (q.LOG, q.LEARNING_RATE) or self.broken_at is None:
            return curve
        kept = curve.steps < self.broken_at[1]
        return Curve(*(column[kept] for column in curve))

    @functools.cached_property
    def broken_at(self) -> Position | None:
        """When a loss was first seen to be NaN or infinite, if it was."""
        found = []
        for quantity in (q.NON_FINITE_BATCH, q.LOG, q.BATCH_LOSS):
            owner = "loss" if quantity == q.LOG else ""
            curve = self.curve(quantity, owner)
            bad = ~np.isfinite(curve.values)
            if quantity == q.NON_FINITE_BATCH:
                bad = np.ones(len(curve.values), bool)
            if quantity == q.BATCH_LOSS and bad.all():
                continue  # the loss is not known
            if bad.any():
                found.append(curve.at(int(np.flatnonzero(bad)[0])))
        return min(found, key=lambda at: at[1], default=None)

    def curves(self, quantity: Quantity) -> dict[str, Curve]:
        """One quantity of all its owners, in the order of their calls."""
        owners = self._index.rows.get(str(quantity), {})
        found = {owner: self.curve(quantity, owner) for owner in owners}
        return {owner: curve for owner, curve in found.items() if curve}

    def logs(self, key: str) -> Curve:
        """What `fit` logged under a key, at the end of each epoch."""
        return self.curve(q.LOG, key)

    @property
    def planned_epochs(self) -> int:
        """Epochs planned for this `fit`; at least those that have ended."""
        if self.has_ended:
            return max(self.ended_epochs, 1)
        planned = self.facts.get("epochs") or 0
        planned -= self.facts.get("initial_epoch") or 0
        # In a run of several calls of `fit`, at least twice the epochs before
        # the last call: as many may follow. A call that begins after the last
        # epoch is left out, since a check at that moment did not know of it.
        begun = self.facts.get("continued") or []
        planned = max(
            [planned] + [2 * n for n in begun if n < self.ended_epochs]
        )
        return max(planned, self.ended_epochs, 1)

    @functools.cached_property
    def ended_epochs(self) -> int:
        """Number of epochs that have ended."""
        owners = self._index.rows.get(str(q.LOG), {})
        found = {
            int(epoch)
            for owner in owners
            for epoch in self.logs(owner).epochs.tolist()
        }
        if found:
            # The recording of a very long run leaves some out.
            left_out = self._run.left_out if self._run else {}
            return len(found.union(left_out.get("run", ())))
        # A `train_step` that logs nothing.
        looks = self.curves(q.EPOCH_WEIGHT_RMS).values()
        return max((int(c.epochs[-1]) + 1 for c in looks), default=0)

    @property
    def has_ended(self) -> bool:
        """Whether the run has ended, if a doctor has recorded that."""
        checked = self.curve(q.CHECKED)
        return bool(checked) and checked.values[-1] == ENDED

    @property
    def layers(self) -> list[dict[str, Any]]:
        """Facts of each layer."""
        return self.facts.get("layers", [])

    @functools.cached_property
    def layer(self) -> dict[str, dict[str, Any]]:
        """Facts of each layer, by its path."""
        return {each["path"]: each for each in self.layers}

    @property
    def variables(self) -> list[dict[str, Any]]:
        """Facts of each variable."""
        return self.facts.get("variables", [])

    @functools.cached_property
    def kernels(self) -> list[dict[str, Any]]:
        """Facts of trainable variables through which a signal passes."""
        return [
            each
            for each in self.variables
            if each.get("role") == q.WEIGHT and each.get("trainable")
        ]

    @property
    def heads(self) -> list[dict[str, Any]]:
        """Facts of each output that has a loss."""
        return self.facts.get("heads") or []

    def may_have(self, *kinds: str) -> bool:
        """Whether a head is of one of these kinds, as far as is known."""
        found = {head.get("kind") for head in self.heads}
        return not found or bool(found.intersection(kinds))

    @property
    def data(self) -> dict[str, Any]:
        """Facts of inputs and targets, empty before they are known."""
        data = self.facts.get("data") or {}
        return data if data.get("step", 0) <= self.position[1] else {}

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Facts of each input."""
        return self.data.get("inputs") or []

    @property
    def targets(self) -> dict[str, dict[str, Any]]:
        """Facts of the targets of each output.

        Where the entries that a mask leaves are not known, neither is their
        loss for a constant prediction.
        """
        found = self.data.get("targets") or []
        masked = self.facts.get("masked_outputs") or ()
        return {
            each["output"]: each
            if each["output"] not in masked or each.get("masked")
            else {**each, **_UNKNOWN_LOSSES}
            for each in found
        }

    @property
    def is_preflight(self) -> bool:
        """Whether this is a preflight, and no run has begun."""
        return bool(self.facts.get("is_preflight"))

    @property
    def fit(self) -> dict[str, Any]:
        """Facts of the call of `fit`."""
        return self.facts.get("fit") or {}


def held(wrong: Iterable[bool], checks: int) -> bool:
    """Whether each of the last `checks` checks found something wrong."""
    last = list(wrong)[-checks:]
    return len(last) == checks and all(last)
