"""What was measured in training: tidy rows, in memory and on disk."""

import copy
import dataclasses
import fnmatch
import itertools
import os
import pathlib
import uuid
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal, Self

import numpy as np

from keras_concepts import quantities
from keras_concepts._extras import missing
from keras_concepts._recording.earlier_runs import EarlierRuns
from keras_concepts._recording.left_out import as_json
from keras_concepts._recording.reader import RecordingReader
from keras_concepts._recording.rows import (
    Run,
    Series,
    keep,
    series_of,
    warn_renamed,
)
from keras_concepts._recording.thinning import Thinning, stays
from keras_concepts._recording.writer import RecordingWriter


class Recording:
    """Tidy rows `(run, monitor, step, epoch, owner, quantity, index, value)`.

    A recording depends on numpy alone: it can be loaded, judged and drawn on a
    machine without Keras.

    With a `path`, every `flush()` appends what was added since the last one, as
    lines of JSON, each with a checksum. A process that is killed while writing
    loses at most the lines after its last flush: `load` leaves out an
    incomplete last line. A file that already holds a recording is continued,
    never
    overwritten: with another monitor of the same run, or with the next run,
        whose steps are counted on. If the file is deleted in the meantime, the
        next flush creates it again, with all rows of this recording.

    Memory and file size are bounded. Once there are more than a million rows
    that take more than 128 MiB, `flush` leaves out whole epochs, of all owners
    alike. The following stay: what is measured of the run rather than of its
    layers (the logs for example; of 2,048 epochs at most), what is measured
    once in a run, the first 4 and the last 8 epochs, those in which a curve was
    furthest from its median or ceased to be finite, and 8 or more of the
    others, spread evenly. The file says the same: it is rewritten when half of
    its lines are left out. What a judge had found by then is kept with the
    rows, so that `diagnose` gives what the training doctor gave.
    `runs[...].left_out` lists the epochs.

    Only one process can write to a file. It holds the file until the recording
    is closed (`close`, or the end of a `with` block) or no longer referred to.
    Other processes cannot record to it, but they can read it.

    Args:
        path: File to append to, or `None` to keep the rows in memory only.
        facts: JSON-compatible facts about the run; see `record_facts`.
        monitor: Who measures. In a file where the run already has a monitor
            of this name, it becomes `monitor (2)`.
        run: Identity of the run, shared by all monitors of one `fit`; by
            default a new one.
        on_error: What to do when the opened file cannot be written, for example
            because the disk is full: `"raise"`, or `"warn"` once. The file
            stays as it was and the rows stay in memory, so that the next
            `flush` writes them too.
        metadata: Earlier name of `facts`.

    Attributes:
        monitor: Name of the monitor, as in the rows.
        run: Number of the run being recorded, from 0.
        next_step: Number of this run's first step: the one after the last step
            of earlier runs in the file, else 0.
        next_epoch: Number of this run's first epoch: the one after the last
            epoch of earlier runs in the file, else 0.
        is_first: Whether no other monitor had recorded this run in the file.

    Raises:
        OSError: `path` cannot be written; in particular `BlockingIOError` if
            another process is recording to it.
        ValueError: `path` is not a recording, or was written by a newer
            version; or `on_error` is neither `"raise"` nor `"warn"`.

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
        on_error: Literal["raise", "warn"] = "raise",
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if on_error not in ("raise", "warn"):
            raise ValueError(
                "`on_error` of `Recording` must be 'raise' or 'warn'. "
                f"Received: on_error={on_error!r}."
            )
        if metadata is not None:
            warn_renamed("metadata", "facts")
            facts = metadata
        self.path = None if path is None else pathlib.Path(path)
        self._runs: dict[int, Run] = {}
        self._series: list[Series] = []
        self._thinning: Thinning | None = Thinning()
        self._writer: RecordingWriter | None = None
        if self.path is not None:
            self._writer = RecordingWriter(self.path, on_error == "warn")
        identity = run or uuid.uuid4().hex
        earlier = EarlierRuns(
            {} if self._writer is None else self._writer.runs, identity
        )
        self._earlier = earlier
        self.monitor = _free_name(monitor, earlier.monitors)
        self.run, self.is_first = earlier.run, earlier.is_first
        self.next_step, self.next_epoch = earlier.next_step, earlier.next_epoch
        this = Run(self.run, identity, [self.monitor] if self.monitor else [])
        self._runs[self.run] = this
        if self._writer is not None:
            self._writer.begin(this, self.monitor)
        if facts:
            self.record_facts(facts)

    def resume(
        self,
        epoch: int,
        step: int | None = None,
        *,
        steps_per_epoch: int | None = None,
        **facts: Any,
    ) -> int:
        """Continues where an earlier run of the same model stands in the file.

        `fit(initial_epoch=...)` resumes an earlier `fit`, and so does
        `keras.callbacks.BackupAndRestore`. If that run broke off, `load` leaves
        out what it recorded of the epochs that this run repeats.

        Args:
            epoch: First epoch of this run, as its `fit` numbers it.
            step: Steps that the model has taken, if known. Used if the file
                lacks the epoch before, or if the model was saved within the
                epoch.
            steps_per_epoch: Steps of an epoch, if known.
            **facts: `model` and `parameters`, which the earlier run must share.

        Returns:
            What to add to an epoch of this `fit` to get the recording's epoch.
        """
        found = self._earlier.resume(
            epoch, step, steps_per_epoch=steps_per_epoch, facts=facts
        )
        if found.of_run is not None and self.is_first:
            resumed = {"run": found.of_run, "epoch": found.next_epoch}
            self.record_facts({"resumed": resumed})
        self.next_epoch, self.next_step = found.next_epoch, found.next_step
        return found.offset

    def broke_off_in_its_first_epoch(
        self, step: int | None, steps_per_epoch: int | None, **facts: Any
    ) -> bool:
        """Whether a restored model, at epoch 0, continues an earlier run.

        `BackupAndRestore(save_freq=n)` restores what it saved within an epoch,
        which may be the first one. Ask this only of a restored model: any other
        begins a new run.

        Args:
            step: Steps that the model has taken, if known.
            steps_per_epoch: Steps of an epoch, if known.
            **facts: As for `resume`.
        """
        return self._earlier.broke_off_in_the_first_epoch(
            step, steps_per_epoch, facts
        )

    def in_memory(self) -> "Recording":
        """The present rows and facts, in memory only."""
        other = copy.copy(self)
        other._series = [*self._series]
        other._runs = copy.deepcopy(self._runs)
        other._thinning = copy.deepcopy(self._thinning)
        other._writer = other.path = None
        return other

    def for_monitor(self, monitor: str) -> "Recording":
        """This recording under the name of another monitor of the same run.

        Rows, facts and file are shared: what is appended to one is in both.
        """
        monitors = self._runs[self.run].monitors
        monitor = _free_name(monitor, {*monitors, *self._earlier.monitors})
        monitors.append(monitor)
        if self._writer is not None:
            self._writer.add_monitor(monitor)
        other = copy.copy(self)
        other.monitor = monitor
        other.is_first = False
        return other

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
        is_copy: bool = False,
    ) -> None:
        """Adds one row for each value.

        Args:
            epoch: Epoch that the steps belong to, from 0; -1 before the first.
            owner: Path of the layer or variable, or another name that
                `quantity` asks for; `""` means the run.
            quantity: What was measured: a name of `keras_concepts.quantities`,
                or one of your own that begins with `user/`.
            steps: Steps taken before the measurement: an integer, or a sequence
                of `n` integers.
            values: A number, or a sequence of `n` numbers; NaN and infinities
                are kept.
            index: Unit, channel or lag of each value, if the quantity has one.
            monitor: Who measured it, by default the recording's monitor.
            is_copy: Whether another monitor of the run writes the same rows to
                the file; they are then kept in memory only.

        Raises:
            ValueError: `quantity` is not in the vocabulary, or `steps`,
                `values` and `index` differ in length.
        """
        _ = quantities.described(quantity)
        self._series.append(
            series_of(
                self.run,
                self.monitor if monitor is None else monitor,
                epoch,
                owner,
                str(quantity),
                steps,
                values,
                index,
                is_copy,
            )
        )

    def record_facts(self, facts: dict[str, Any]) -> None:
        """Adds JSON-compatible facts about the run; written at once."""
        self._runs[self.run].facts.update(facts)
        if self._writer is not None:
            self._writer.add_facts(facts)
            self._writer.write([])

    def flush(self) -> None:
        """Appends the rows added since the last flush to `path`, if any.

        If the recording has become large, some epochs are left out, in memory
        and in the file.

        Raises:
            OSError: `path` cannot be written, unless `on_error="warn"`.
        """
        if self._writer is not None:
            self._writer.write(self._series)
        # A loaded recording is not thinned.
        left_out = self._thinning and self._thinning.plan(self._series)
        if left_out:
            self._leave_out(left_out)

    def _leave_out(self, left_out: dict[str, list[int]]) -> None:
        run, is_kept = self._runs[self.run], stays(left_out)
        for group, epochs in left_out.items():
            run.left_out.setdefault(group, set()).update(epochs)
        if self._writer is not None:
            self._writer.leave_out(self._series, is_kept)
        run.gone += keep(self._series, is_kept, [])
        run.judged, run.judged_at = as_json(run.verdict), len(self._series)
        if self._thinning is not None:
            self._thinning.begin(self._series)
        if self._writer is not None:
            self._writer.write(self._series)
            self._writer.compact(self._series)

    def close(self) -> None:
        """Flushes, and lets other processes write to the file.

        The rows stay in memory. Another `flush` takes hold of the file again.
        """
        try:
            self.flush()
        finally:
            if self._writer is not None:
                self._writer.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a recording file, with all its runs and monitors.

        Raises:
            ValueError: `path` is not a recording, was written by a newer
                version, or a line other than the last is damaged.
        """
        found = RecordingReader(pathlib.Path(path))
        recording = cls()
        recording._runs, recording._series = found.runs, found.series
        recording.run = max(found.runs)
        recording._thinning = None
        if found.unknown:
            warnings.warn(
                f"{path} holds quantities that this version of keras-concepts "
                f"does not know: {', '.join(found.unknown)}. They are read as "
                f"`{quantities.USER_PREFIX}...`. Upgrade keras-concepts to see "
                "them in reports.",
                UserWarning,
                stacklevel=2,
            )
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
        """The rows that match all given arguments, as a recording in memory.

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
        """Some of the series, in their order."""
        selection = Recording(monitor=self.monitor)
        selection.run = self.run
        selection._series = [*series]
        selection._runs = dict(self._runs)
        for number, run in self._runs.items():
            if run.judged_at:  # a position, which differs in the selection
                selected = set(map(id, selection._series))
                before = self._series[: run.judged_at]
                place = sum(id(each) in selected for each in before)
                selection._runs[number] = dataclasses.replace(
                    run, judged_at=place
                )
        return selection

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame` with one column per field.

        Raises:
            ImportError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise missing("Data frames", "pandas", "pandas") from error
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
        """Steps taken before each row, counted over the whole recording."""
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
        columns = [s.index for s in self._series]
        return _concatenate(columns, np.int64)

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


def _free_name(monitor: str, taken: Collection[str]) -> str:
    names = (f"{monitor} ({n})" for n in itertools.count(2))
    return next(n for n in itertools.chain([monitor], names) if n not in taken)


def _matches(name: str, pattern: str | None) -> bool:
    # A path may contain characters that are special in a pattern.
    return pattern in (None, name) or fnmatch.fnmatchcase(name, str(pattern))


def _concatenate(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)
