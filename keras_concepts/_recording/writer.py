"""Writes the rows of a recording to its file."""

import contextlib
import itertools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras_concepts._recording.file import FORMAT, VERSION, encoded
from keras_concepts._recording.held_file import HeldFile, hold
from keras_concepts._recording.left_out import Gone, left_out_entry
from keras_concepts._recording.lines import entries_of
from keras_concepts._recording.rows import Run, Series
from keras_concepts._recording.runs import WrittenRun, forget, written_runs

# For each file that could not be written, the run that was warned about it.
_warned: dict[str, str] = {}


class RecordingWriter:
    """Appends to a file what one monitor records of a run.

    Rows that cannot be written are kept, and written with the next ones. If the
    file was deleted, it is started again with all rows.

    Args:
        path: File to append to.
        warns: Whether to warn, once per run, if writing fails.

    Attributes:
        runs: Runs that the file already holds, by number.

    Raises:
        OSError: The file cannot be opened, or another process writes to it.
        ValueError: The file is not a recording.
    """

    def __init__(self, path: pathlib.Path, warns: bool) -> None:
        self.path = path
        self._warns = warns
        self._hold: HeldFile | None = hold(path)
        self._run = Run(0)
        self._monitor = ""
        # What is not in the file yet: header, facts and series.
        self._entries: list[dict[str, Any]] = []
        self._written = 0
        self._lines = 0  # series written, some of which may be left out by now
        self._thinned: set[str] = set()  # monitors with rows left out
        self._says_left_out = False
        try:
            self.runs: dict[int, WrittenRun] = written_runs(path)
        except BaseException:
            self._hold = None
            raise

    def begin(self, run: Run, monitor: str) -> None:
        """Writes the header: who records, and which run."""
        self._run, self._monitor = run, monitor
        self._entries = [self._header()]
        self.write([])

    def add_monitor(self, monitor: str) -> None:
        """Writes another header: another monitor records with this writer."""
        self._entries.append(self._header() | {"monitor": monitor})
        self.write([])

    def add_facts(self, facts: dict[str, Any]) -> None:
        """Writes facts of the run."""
        entry = {"run": self._run.number, "facts": facts}
        _ = encoded([entry])  # raises before the entry is added
        self._entries.append(entry)

    def write(self, series: Sequence[Series]) -> None:
        """Writes what is not in the file yet.

        Args:
            series: All recorded series, or none to write only facts.

        Raises:
            OSError: The file cannot be written, unless it `warns`.
        """
        is_new = self._entries or self._says_left_out
        if not is_new and len(series) <= self._written:
            return
        try:
            self._append(series)
        except OSError as error:
            if not self._warns:
                raise
            self._warn(error)
        else:
            self._entries, self._says_left_out = [], False
            self._written = max(self._written, len(series))

    def leave_out(
        self, series: Sequence[Series], is_kept: Callable[[Series], bool]
    ) -> None:
        """Makes the next `write` list the epochs that are left out.

        Args:
            series: All recorded series, before any is removed.
            is_kept: Whether a series stays.
        """
        self._written = sum(map(is_kept, series[: self._written]))
        self._thinned.update(s.monitor for s in series if not s.is_copy)
        self._says_left_out = True

    def compact(self, series: Sequence[Series]) -> None:
        """Rewrites the file without the rows that were left out.

        Does so only once they are half of it. If there is no space for both
        files, the old one stays.

        Args:
            series: All recorded series that were not left out.
        """
        if self._lines < 2 * len(series):
            return
        gone = Gone(self._run, self._thinned)
        with contextlib.suppress(OSError):
            held = hold(self.path)
            if held is self._hold:
                held.rewrite(self.path, filter(gone.stays, held.lines()))
                forget(self.path)
                self._lines = len(series)

    def release(self) -> None:
        """Lets other processes write to the file, until the next `write`."""
        self._hold = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_hold": None}  # it belongs to this process

    def _append(self, series: Sequence[Series]) -> None:
        held = hold(self.path)
        entries, first = self._entries, self._written
        if not held.size:  # new, or deleted since
            entries, first = self._beginning(), 0
        elif held is not self._hold and self._header() not in entries:
            entries, first = self._going_on()
        self._hold = held
        text = encoded(itertools.chain(entries, self._rows(series, first)))
        try:
            held.append(text, encoded([self._header()]))
        except OSError as error:
            raise OSError(
                error.errno, error.strerror, str(self.path)
            ) from error
        if not first:
            self._written = len(series)
            self._lines = 0
        self._lines += max(0, len(series) - first)  # 0 for facts alone

    def _rows(
        self, series: Sequence[Series], first: int
    ) -> Iterator[dict[str, Any]]:
        """Rows from `first` on, and what was left out, if needed."""
        run = self._run
        place = max(first, run.judged_at)
        own = (each for each in series[first:place] if not each.is_copy)
        yield from entries_of(own)
        if run.left_out and (self._says_left_out or not first):
            yield left_out_entry(run, self._thinned)
        own = (each for each in series[place:] if not each.is_copy)
        yield from entries_of(own)

    def _header(self) -> dict[str, Any]:
        header = {"format": FORMAT, "version": VERSION, "run": self._run.number}
        return header | {
            "identity": self._run.identity,
            "monitor": self._monitor,
        }

    def _beginning(self) -> list[dict[str, Any]]:
        facts = {"run": self._run.number, "facts": self._run.facts}
        return [self._header(), *([facts] if self._run.facts else [])]

    def _going_on(self) -> tuple[list[dict[str, Any]], int]:
        """Entries and first series for a file that was released in between."""
        try:
            runs = written_runs(self.path).values()
        except ValueError as error:
            raise FileExistsError(str(error)) from error
        for run in runs:
            if run.identity == self._run.identity:
                if self._monitor and self._monitor not in run.monitors:
                    return self._beginning(), 0  # deleted and begun by another
                return self._entries, self._written
        raise FileExistsError(
            f"{self.path} must be the file in which this recording was begun. "
            "Received: another recording of that name."
        )

    def _warn(self, error: OSError) -> None:
        """Warns once per run, whichever monitor records it."""
        name = os.path.realpath(self.path)
        if _warned.get(name) != self._run.identity:
            _warned[name] = self._run.identity
            warnings.warn(
                f"{self.path} cannot be written ({error}). What it holds stays "
                "readable. New rows are kept in memory and written once the "
                "file can be written.",
                UserWarning,
                stacklevel=2,
            )
