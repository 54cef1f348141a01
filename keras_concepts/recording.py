"""What was measured in a training: tidy rows, in memory and on disk."""

import fnmatch
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np

_FORMAT = "keras-concepts recording"
_VERSION = 1


class Series(NamedTuple):
    """One quantity of one layer over some steps of one epoch."""

    epoch: int
    layer: str
    quantity: str
    steps: np.ndarray
    values: np.ndarray


class Recording:
    """Tidy rows `(step, epoch, layer, quantity, value)` of one training.

    A recording knows numpy and nothing else: it can be loaded, judged and drawn
    on a machine without Keras.

    With a `path`, every `flush()` appends what came since the last one, as one
    JSON object a line. A process killed in mid-write loses at most the lines
    after its last flush: `load` leaves out a last line that is not whole. A
    file that already holds a recording is continued, never overwritten.

    Args:
        path: File to append to, or `None` to keep the rows in memory only.
        metadata: JSON-compatible facts about the run (backend, versions, shape
            of each variable). Written once, before the first row.

    Attributes:
        metadata: As given, or as loaded.
        next_step: Number of the step after the last one in the file that is
            continued, else 0.

    Raises:
        OSError: `path` cannot be written.
        ValueError: `path` holds something else than a recording.

    Example:

    >>> recording = Recording()
    >>> recording.append(0, "dense/kernel", "gradient_rms", [0, 1], [0.5, 0.25])
    >>> len(recording)
    2
    >>> recording.select(layer="dense/*").value.tolist()
    [0.5, 0.25]
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.path = None if path is None else pathlib.Path(path)
        self.metadata = dict(metadata or {})
        self.next_step = 0
        self._series: list[Series] = []
        self._flushed = 0
        if self.path is not None:
            if self.path.exists() and self.path.stat().st_size:
                self.next_step = _next_step(self.path)
            header = {"format": _FORMAT, "version": _VERSION}
            _append_lines(self.path, [header | {"metadata": self.metadata}])

    def append(
        self, epoch: int, layer: str, quantity: str, steps: Any, values: Any
    ) -> None:
        """Adds one row for each step.

        Args:
            epoch: Epoch the steps belong to, counted from 0.
            layer: Path of the layer or variable; `""` means the whole model.
            quantity: What was measured, for example `"gradient_rms"`.
            steps: Integer or sequence of `n` integers, counted from 0.
            values: Number or sequence of `n` numbers; NaN and infinities are
                kept.

        Raises:
            ValueError: `steps` and `values` differ in length.
        """
        steps = np.atleast_1d(np.asarray(steps, dtype=np.int64))
        values = np.atleast_1d(np.asarray(values, dtype=np.float64))
        if steps.ndim != 1 or steps.shape != values.shape:
            raise ValueError(
                "`steps` and `values` of `Recording.append` must be of one "
                f"length. Received: steps of shape {steps.shape}, values of "
                f"shape {values.shape}."
            )
        self._series.append(Series(int(epoch), layer, quantity, steps, values))

    def flush(self) -> None:
        """Appends the rows added since the last flush to `path`, if any."""
        if self.path is not None:
            new = self._series[self._flushed :]
            _append_lines(self.path, [_entry(series) for series in new])
            self._flushed = len(self._series)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads a recording file.

        A file that several trainings were appended to gives the rows of all of
        them, and the metadata of the last.

        Raises:
            ValueError: `path` is not a recording, or a line other than the
                last is damaged.
        """
        recording = cls()
        for entry in _read_entries(pathlib.Path(path)):
            if "format" in entry:
                recording.metadata = entry["metadata"]
            else:
                values = [float(value) for value in entry.pop("values")]
                recording.append(**entry, values=values)
        return recording

    def select(
        self,
        layer: str | None = None,
        quantity: str | None = None,
        epoch: int | None = None,
    ) -> "Recording":
        """The rows that match all that is given, as a recording in memory.

        Args:
            layer: Path or pattern (`"*/kernel"`, see `fnmatch`); `""` selects
                what was measured of the whole model.
            quantity: Name or pattern.
            epoch: Epoch, counted from 0.
        """
        selection = Recording(metadata=self.metadata)
        selection._series = [
            series
            for series in self._series
            if (layer is None or fnmatch.fnmatchcase(series.layer, layer))
            and (
                quantity is None
                or fnmatch.fnmatchcase(series.quantity, quantity)
            )
            and (epoch is None or series.epoch == epoch)
        ]
        return selection

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame` with one column a field.

        Raises:
            ImportError: pandas is not installed.
        """
        import pandas

        return pandas.DataFrame(
            {
                "step": self.step,
                "epoch": self.epoch,
                "layer": self.layer,
                "quantity": self.quantity,
                "value": self.value,
            }
        )

    @property
    def step(self) -> np.ndarray:
        """Step of each row, counted from 0 over the whole training."""
        return _concatenate([s.steps for s in self._series], np.int64)

    @property
    def epoch(self) -> np.ndarray:
        """Epoch of each row, counted from 0."""
        return self._repeat([s.epoch for s in self._series], np.int64)

    @property
    def layer(self) -> np.ndarray:
        """Path of the layer or variable of each row."""
        return self._repeat([s.layer for s in self._series], object)

    @property
    def quantity(self) -> np.ndarray:
        """Quantity of each row."""
        return self._repeat([s.quantity for s in self._series], object)

    @property
    def value(self) -> np.ndarray:
        """Value of each row, float64."""
        return _concatenate([s.values for s in self._series], np.float64)

    @property
    def layers(self) -> list[str]:
        """Every layer path, in the order of first appearance."""
        return list(dict.fromkeys(series.layer for series in self._series))

    @property
    def quantities(self) -> list[str]:
        """Every quantity, in the order of first appearance."""
        return list(dict.fromkeys(series.quantity for series in self._series))

    def __iter__(self) -> Iterator[Series]:
        return iter(self._series)

    def __len__(self) -> int:
        return sum(len(series.steps) for series in self._series)

    def __repr__(self) -> str:
        return (
            f"<Recording: {len(self)} rows, {len(self.layers)} layers, "
            f"{len(self.quantities)} quantities>"
        )

    def _repeat(self, fields: list[Any], dtype: Any) -> np.ndarray:
        lengths = [len(series.steps) for series in self._series]
        return np.repeat(np.array(fields, dtype=dtype), lengths)


def _concatenate(arrays: list[np.ndarray], dtype: Any) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _entry(series: Series) -> dict[str, Any]:
    # JSON has no NaN and no infinity; `float` reads them from a string.
    values = [v if math.isfinite(v) else str(v) for v in series.values.tolist()]
    return {
        "epoch": series.epoch,
        "layer": series.layer,
        "quantity": series.quantity,
        "steps": series.steps.tolist(),
        "values": values,
    }


def _append_lines(path: pathlib.Path, entries: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(e, allow_nan=False) + "\n" for e in entries)
    with path.open("a+b") as file:
        # A killed process may have left half a line: end it.
        if file.tell():
            _ = file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n" + text
        _ = file.write(text.encode())


def _next_step(path: pathlib.Path) -> int:
    steps = Recording.load(path).step
    return int(steps.max()) + 1 if len(steps) else 0


def _read_entries(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    entries = [_parsed(line) for line in lines]
    if not _is_header(entries[0]):
        raise ValueError(f"{path} is not a {_FORMAT}.")
    following = [*entries[1:], None]
    for number, (entry, after) in enumerate(
        zip(entries, following, strict=True), start=1
    ):
        if entry is not None:
            yield entry
        elif number < len(entries) and not _is_header(after):
            # Only a process that was killed leaves half a line, so the file
            # ends here, or a run that continued it begins.
            raise ValueError(
                f"Line {number} of {path} is not part of a {_FORMAT}."
            )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None


def _is_header(entry: dict[str, Any] | None) -> bool:
    return entry is not None and entry.get("format") == _FORMAT
