"""What was measured in training: tidy rows, in memory and on disk."""

import fnmatch
import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Self

import numpy as np

from keras_concepts import quantities
from keras_concepts._recording_file import (
    FORMAT,
    VERSION,
    append_lines,
    is_header,
    read_entries,
)
from keras_concepts._recording_format_1 import upgraded
from keras_concepts._recording_rows import Run, Series, entry_of, warn_renamed


class Recording:
    """Tidy rows `(run, monitor, step, epoch, owner, quantity, index, value)`.

    A recording knows numpy and nothing else: it can be loaded, judged and drawn
    on a machine without Keras.

    With a `path`, every `flush()` appends what came since the last one, as one
    JSON object per line. A process killed while writing loses at most the lines
    after its last flush: `load` leaves out a last line that is not whole. A
    file that already holds a recording is continued, never overwritten: with
    another monitor of the same run, or with the next run, whose steps are
    counted on.

    Args:
        path: File to append to, or `None` to keep the rows in memory only.
        facts: JSON-compatible facts about the run; see `record_facts`.
        monitor: Who measures. In a file where the run already has a monitor of
            this name, it becomes `monitor (2)`.
        run: Identity of the run, shared by all monitors of one `fit`; by
            default a new one.
        metadata: Earlier name of `facts`.

    Attributes:
        monitor: As written to the rows.
        run: Number of the run that is recorded, from 0.
        next_step: Number of the step after the last one of earlier runs in the
            file, else 0.
        next_epoch: Number of the epoch after the last one of earlier runs in
            the file, else 0.
        is_first: Whether no other monitor had recorded this run in the file.

    Raises:
        OSError: `path` cannot be written.
        ValueError: `path` is not a recording, or one that a
            newer version wrote.

    Example:

    >>> recording = Recording()
    >>> recording.append(0, "dense/kernel", "gradient_rms", [0, 1], [0.5, 0.25])
    >>> len(recording)
    2
    >>> recording.select(owner="dense/*").value.tolist()
    [0.5, 0.25]
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        facts: dict[str, Any] | None = None,
        *,
        monitor: str = "",
        run: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if metadata is not None:
            warn_renamed("metadata", "facts")
            facts = metadata
        self.path = None if path is None else pathlib.Path(path)
        self.monitor = monitor
        self.run = 0
        self.next_step = 0
        self.next_epoch = 0
        self.is_first = True
        self._runs: dict[int, Run] = {}
        self._series: list[Series] = []
        self._flushed = 0
        identity = run or uuid.uuid4().hex
        if self.path is not None:
            if self.path.exists() and self.path.stat().st_size:
                self._continue(type(self).load(self.path), identity)
            header = {"format": FORMAT, "version": VERSION, "run": self.run}
            header |= {"identity": identity, "monitor": self.monitor}
            append_lines(self.path, [header])
        self._runs[self.run] = Run(
            self.run, identity, [self.monitor] if self.monitor else []
        )
        if facts:
            self.record_facts(facts)

    def _continue(self, written: "Recording", identity: str) -> None:
        same = [run for run in written.runs if run.identity == identity]
        if same:
            self.run, self.is_first = same[0].number, False
            taken = same[0].monitors
            names = (f"{self.monitor} ({n})" for n in range(2, len(taken) + 2))
            if self.monitor in taken:
                self.monitor = next(n for n in names if n not in taken)
        else:
            self.run = 1 + max(run.number for run in written.runs)
        earlier = [s for s in written if s.run < self.run and len(s.steps)]
        self.next_step = max(map(_steps_taken, earlier), default=0)
        self.next_epoch = 1 + max((s.epoch for s in earlier), default=-1)

    def append(
        self,
        epoch: int,
        owner: str,
        quantity: str,
        steps: Any,
        values: Any,
        *,
        index: Any = None,
        monitor: str | None = None,
    ) -> None:
        """Adds one row for each value.

        Args:
            epoch: Epoch the steps belong to, counted from 0; -1 before it.
            owner: Path of the layer or variable, or another name that
                `quantity` asks for; `""` means the run.
            quantity: What was measured: a name of `keras_concepts.quantities`,
                or one of your own that begins with `user/`.
            steps: Steps taken before it was measured: an integer, or a sequence
                of `n` integers.
            values: Number or sequence of `n` numbers; NaN and infinities are
                kept.
            index: Unit, channel or lag of each value, if the quantity has one.
            monitor: Who measured it, by default the recording's monitor.

        Raises:
            ValueError: `quantity` is not in the vocabulary, or `steps`,
                `values` and `index` differ in length.
        """
        _ = quantities.described(quantity)
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        steps = np.atleast_1d(np.asarray(steps, dtype=np.int64))
        if index is None:
            index = np.full(values.shape, -1)
        else:
            # All channels of a layer are measured at one step.
            index = np.atleast_1d(np.asarray(index, dtype=np.int64))
            steps = np.repeat(steps, len(values)) if len(steps) == 1 else steps
        if values.ndim != 1 or not steps.shape == values.shape == index.shape:
            raise ValueError(
                "`steps`, `values` and `index` of `Recording.append` must have "
                f"the same length. Received: steps of shape {steps.shape}, "
                f"values of shape {values.shape}, index of shape {index.shape}."
            )
        monitor = self.monitor if monitor is None else monitor
        self._series.append(
            Series(
                self.run,
                monitor,
                int(epoch),
                owner,
                str(quantity),
                steps,
                index,
                values,
            )
        )

    def record_facts(self, facts: dict[str, Any]) -> None:
        """Adds facts about the run, JSON-compatible; written at once."""
        self._runs[self.run].facts.update(facts)
        if self.path is not None:
            append_lines(self.path, [{"run": self.run, "facts": facts}])

    def flush(self) -> None:
        """Appends the rows added since the last flush to `path`, if any."""
        if self.path is not None:
            new = self._series[self._flushed :]
            append_lines(self.path, [entry_of(series) for series in new])
            self._flushed = len(self._series)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a recording file, with all its runs and monitors.

        Raises:
            ValueError: `path` is not a recording, was written by a newer
                version, or a line other than the last is damaged.
        """
        recording = cls()
        recording._runs = {}
        for entry in upgraded(read_entries(pathlib.Path(path))):
            number = entry.pop("run")
            run = recording._runs.setdefault(number, Run(number))
            if is_header(entry):
                run.identity = entry.get("identity", "")
                if entry.get("monitor"):
                    run.monitors.append(entry["monitor"])
            elif "facts" in entry:
                run.facts.update(entry["facts"])
            else:
                if entry["monitor"] not in (*run.monitors, "", quantities.FIT):
                    run.monitors.append(entry["monitor"])
                recording.run = number
                values = [float(value) for value in entry.pop("values")]
                recording.append(**entry, values=values)
        recording.run = max(recording._runs)
        return recording

    def select(
        self,
        owner: str | None = None,
        quantity: str | None = None,
        epoch: int | None = None,
        *,
        monitor: str | None = None,
        run: int | None = None,
        layer: str | None = None,
    ) -> "Recording":
        """The rows that match all that is given, as a recording in memory.

        Args:
            owner: Path or pattern (`"*/kernel"`, see `fnmatch`); `""` selects
                what was measured of the run.
            quantity: Name or pattern.
            epoch: Epoch, counted from 0.
            monitor: Name or pattern.
            run: Number of the run, from 0.
            layer: Earlier name of `owner`.
        """
        if layer is not None:
            warn_renamed("layer", "owner")
            owner = layer
        names: list[str | None] = [quantity]
        if quantity is not None and quantity in quantities.RENAMED:
            names = [*quantities.RENAMED[quantity]]
            warn_renamed(quantity, "` or `".join(quantities.RENAMED[quantity]))
        return self._with(
            series
            for series in self._series
            if _matches(series.owner, owner)
            and any(_matches(series.quantity, name) for name in names)
            and (epoch is None or series.epoch == epoch)
            and _matches(series.monitor, monitor)
            and (run is None or series.run == run)
        )

    def _with(self, series: Iterable[Series]) -> "Recording":
        selection = Recording(monitor=self.monitor)
        selection.run = self.run
        selection._runs = self._runs
        selection._series = list(series)
        return selection

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame` with one column a field.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(
            {
                "run": self._repeat("run", np.int64),
                "monitor": self._repeat("monitor", object),
                "step": self.step,
                "epoch": self.epoch,
                "owner": self.owner,
                "quantity": self.quantity,
                "index": self.index,
                "value": self.value,
            }
        )

    @property
    def runs(self) -> list[Run]:
        """Each `fit`, in order."""
        return list(self._runs.values())

    @property
    def facts(self) -> dict[str, Any]:
        """Facts of the last run."""
        return self._runs[self.run].facts if self.run in self._runs else {}

    @property
    def monitors(self) -> list[str]:
        """Who measured, in the order of first appearance; without `"fit"`."""
        names = dict.fromkeys(series.monitor for series in self._series)
        return [name for name in names if name not in ("", quantities.FIT)]

    @property
    def step(self) -> np.ndarray:
        """Steps taken before each row, counted over the whole training."""
        return _concatenate([s.steps for s in self._series], np.int64)

    @property
    def epoch(self) -> np.ndarray:
        """Epoch of each row, counted from 0."""
        return self._repeat("epoch", np.int64)

    @property
    def owner(self) -> np.ndarray:
        """Path of the layer or variable of each row, or another name."""
        return self._repeat("owner", object)

    @property
    def quantity(self) -> np.ndarray:
        """Quantity of each row."""
        return self._repeat("quantity", object)

    @property
    def index(self) -> np.ndarray:
        """Unit, channel or lag of each row; -1 for none."""
        return _concatenate([s.index for s in self._series], np.int64)

    @property
    def value(self) -> np.ndarray:
        """Value of each row, float64."""
        return _concatenate([s.values for s in self._series], np.float64)

    @property
    def owners(self) -> list[str]:
        """Every owner, in the order of first appearance."""
        return list(dict.fromkeys(series.owner for series in self._series))

    @property
    def quantities(self) -> list[str]:
        """Every quantity, in the order of first appearance."""
        return list(dict.fromkeys(series.quantity for series in self._series))

    def __getattr__(self, name: str) -> Any:
        renamed = {"layer": "owner", "layers": "owners", "metadata": "facts"}
        if name not in renamed:
            raise AttributeError(f"`Recording` has no attribute {name!r}.")
        warn_renamed(name, renamed[name])
        return getattr(self, renamed[name])

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series)

    def __len__(self) -> int:
        return sum(len(series.steps) for series in self._series)

    def __repr__(self) -> str:
        return (
            f"<Recording: {len(self)} rows, {len(self.owners)} owners, "
            f"{len(self.quantities)} quantities>"
        )

    def _repeat(self, field: str, dtype: Any) -> np.ndarray:
        fields = [getattr(series, field) for series in self._series]
        lengths = [len(series.steps) for series in self._series]
        return np.repeat(np.array(fields, dtype=dtype), lengths)


def _steps_taken(series: Series) -> int:
    """Steps that had been taken once the series was measured."""
    concept = quantities.concept_of(series.monitor)
    between_steps = concept is not None and concept.between_steps
    return int(series.steps.max()) + (not between_steps)


def _matches(name: str, pattern: str | None) -> bool:
    # A path may hold what is special in a pattern.
    return pattern in (None, name) or fnmatch.fnmatchcase(name, str(pattern))


def _concatenate(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)
