"""Reads a whole recording from its file."""

import pathlib
import sys
from collections.abc import Callable
from typing import Any

from keras_concepts import quantities
from keras_concepts._recording.file import DAMAGE, Entries, is_header, typed
from keras_concepts._recording.format_1 import upgraded
from keras_concepts._recording.left_out import epochs_of
from keras_concepts._recording.lines import Columns
from keras_concepts._recording.rows import Run, Series, keep
from keras_concepts._recording.runs import replaced_runs
from keras_concepts._recording.thinning import stays


class RecordingReader:
    """Reads a file, with all its runs and monitors.

    Args:
        path: The file.

    Attributes:
        runs: Runs by number.
        series: Series in the order of the file.
        unknown: Quantities written by a newer version.

    Raises:
        ValueError: It is not a recording, was written by a newer version, or
            is damaged.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.runs: dict[int, Run] = {}
        self.series: list[Series] = []
        self.unknown: list[str] = []
        self._columns = Columns()
        entries = Entries(path)
        for entry in upgraded(entries):
            try:
                self._read(entry)
            except DAMAGE as error:
                raise entries.damage(entry["line"]) from error
        self._leave_out_replaced_epochs()

    def _read(self, entry: dict[str, Any]) -> None:
        number = typed(int, entry["run"])
        run = self.runs.setdefault(number, Run(number))
        if "of" in entry:
            self._read_rows(entry, run)
        elif "quantity" in entry:  # before format 3
            of = [[entry["owner"], [entry["quantity"]]]]
            self._read_rows(entry | {"of": of}, run)
        elif "facts" in entry:
            self._read_facts(typed(dict, entry["facts"]), run)
        elif is_header(entry):
            run.identity = typed(str, entry.get("identity", ""))
            _add(typed(str, entry.get("monitor", "")), run)
        else:
            self._leave_out(entry, run)

    def _read_rows(self, entry: dict[str, Any], run: Run) -> None:
        monitor = _interned(entry["monitor"])
        if monitor != quantities.FIT:
            _add(monitor, run)
        names = [
            (_interned(owner), self._known(quantity))
            for owner, measured in entry["of"]
            for quantity in typed(list, measured)
        ]
        epoch = typed(int, entry["epoch"])
        steps = self._columns.steps(entry["steps"])
        values = self._columns.numbers(entry["values"])
        index = entry.get("index")
        if index is not None:
            index = self._columns.integers(index)
            values = values.reshape(1, len(index))
        rows = values.reshape(len(names), len(steps))
        self.series += [
            Series(run.number, monitor, epoch, *name, steps, index, row)
            for name, row in zip(names, rows, strict=True)
        ]

    def _known(self, quantity: Any) -> str:
        quantity = _interned(quantity)
        if quantities.is_known(quantity):
            return quantity
        if quantity not in self.unknown:
            self.unknown.append(quantity)
        return quantities.USER_PREFIX + quantity

    def _read_facts(self, facts: dict[str, Any], run: Run) -> None:
        resumed = facts.get("resumed")
        if resumed is not None:
            _ = typed(int, resumed["run"]), typed(int, resumed["epoch"])
        run.facts.update(facts)

    def _leave_out(self, entry: dict[str, Any], run: Run) -> None:
        """Leaves out what was left out when this line was written."""
        monitors = {*typed(list, entry["monitors"])}
        left_out = epochs_of(typed(dict, entry["left_out"]))
        for group, epochs in left_out.items():
            run.left_out.setdefault(group, set()).update(epochs)
        is_kept = stays(left_out)
        self._keep(
            lambda series: (
                series.run != run.number
                or series.monitor not in monitors
                or is_kept(series)
            )
        )
        if entry.get("judged"):
            run.judged = typed(dict, entry["judged"])
            run.judged_at = len(self.series)

    def _leave_out_replaced_epochs(self) -> None:
        """Leaves out epochs of interrupted runs that a later run repeated."""
        first: dict[int, int] = {}
        for number, run in self.runs.items():
            for replaced in replaced_runs(number, self.runs):
                epoch = run.facts["resumed"]["epoch"]
                first[replaced] = min(epoch, first.get(replaced, epoch))
        if first:
            self._keep(
                lambda series: (
                    series.epoch < first.get(series.run, series.epoch + 1)
                )
            )

    def _keep(self, is_kept: Callable[[Series], bool]) -> None:
        _ = keep(self.series, is_kept, self.runs.values())


def _interned(name: Any) -> str:
    """A name, kept in memory only once for all rows."""
    if not isinstance(name, str):
        raise TypeError("Expected a name.")
    return sys.intern(str(name))


def _add(monitor: str, run: Run) -> None:
    if monitor and monitor not in run.monitors:
        run.monitors.append(monitor)
