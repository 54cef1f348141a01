"""Which runs a file already holds, and how far each of them got."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from keras_concepts import quantities
from keras_concepts._recording.file import DAMAGE, Entries, is_header, typed
from keras_concepts._recording.format_1 import upgraded
from keras_concepts._recording.lines import ROWS


@dataclasses.dataclass
class WrittenRun:
    """A run in a file.

    Attributes:
        number: From 0.
        identity: The same for all monitors of the run.
        monitors: Names of the monitors that recorded it.
        facts: The facts that determine how to continue the run.
        steps: For each epoch, steps that had been taken when its last row was
            measured.
        ahead: Steps that the optimizer had counted beyond those taken, at the
            end of each epoch in which that number changed.
    """

    number: int
    identity: str = ""
    monitors: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    steps: dict[int, int] = dataclasses.field(default_factory=dict)
    ahead: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def broke_off(self) -> bool:
        """Whether the run began and its end was not recorded."""
        return "first_epoch" in self.facts and not self.facts.get("ended")

    @property
    def first_epoch(self) -> int:
        """The epoch of the file in which the run began."""
        return self.facts.get("first_epoch") or 0

    @property
    def offset(self) -> int:
        """Added to an epoch of this `fit`, gives the epoch of the file."""
        return self.first_epoch - self.facts.get(
            "initial_epoch", self.first_epoch
        )

    @property
    def longest_epoch(self) -> int:
        """Steps of the longest epoch of which there are rows."""
        ends = [n for epoch, n in sorted(self.steps.items()) if epoch >= 0]
        begins = [self.facts.get("first_step") or 0, *ends]
        return max(
            (n - b for b, n in zip(begins, ends, strict=False)), default=0
        )

    def step_offset(self, epoch: int) -> int:
        """Added to the optimizer's steps, gives the steps of the file.

        Args:
            epoch: The epoch of the file after which the optimizer was saved.
        """
        first = self.facts.get("first_step") or 0
        initial = self.facts.get("initial_step")
        if initial is None:
            return 0
        noted = [n for each, n in sorted(self.ahead.items()) if each <= epoch]
        return first - initial - sum(noted[-1:])


_COUNTS = ("first_epoch", "initial_epoch", "first_step", "initial_step")
_KEPT = ("model", "parameters", "ended", "resumed", *_COUNTS)
# How far each file was read, so that the next `fit` continues from there.
_known: dict[str, tuple[int, int, dict[int, WrittenRun]]] = {}


def written_runs(path: pathlib.Path) -> dict[int, WrittenRun]:
    """The runs of a file by number; none if the file is empty.

    Call this only while the file is held, so that nothing else writes to it.

    Raises:
        ValueError: See `Entries`.
    """
    stat = path.stat()
    if not stat.st_size:
        return {}
    name = os.path.realpath(path)
    file, start, runs = _known.get(name, (stat.st_ino, 0, {}))
    if file != stat.st_ino or start > stat.st_size:
        start, runs = 0, {}
    entries = Entries(path, start)
    for entry in upgraded(entries, _beginnings(entries)):
        try:
            _read(entry, runs)
        except DAMAGE as error:
            raise entries.damage(entry["line"]) from error
    _known[name] = stat.st_ino, entries.end, runs
    return runs


def forget(path: pathlib.Path) -> None:
    """Forgets what is known of a file; call this when it was rewritten."""
    _ = _known.pop(os.path.realpath(path), None)


def _beginnings(entries: Entries) -> Iterator[dict[str, Any]]:
    """All entries, but rows only with their run, epoch and steps."""
    for line in entries.lines():
        rows = ROWS.match(line)
        if (
            rows
            and line.endswith(b"}\n")
            and not entries.is_after_half_a_line()
        ):
            run, monitor, epoch, last_step, _ = rows.groups()
            yield {
                "line": entries.line,
                "run": int(run),
                "monitor": monitor.decode("ascii"),
                "epoch": int(epoch),
                "last_step": int(last_step),
            }
        else:
            entry = entries.parsed(line)
            if entry is not None:
                yield entry


def _read(entry: dict[str, Any], runs: dict[int, WrittenRun]) -> None:
    number = typed(int, entry["run"])
    run = runs.setdefault(number, WrittenRun(number))
    if is_header(entry):
        run.identity = typed(str, entry.get("identity", ""))
        monitor = typed(str, entry.get("monitor", ""))
        if monitor and monitor not in run.monitors:
            run.monitors.append(monitor)
    elif "facts" in entry:
        _read_facts(typed(dict, entry["facts"]), run, runs)
    elif "epoch" in entry:
        last = entry.get("last_step")
        if last is None:  # before format 3
            last = max(entry["steps"], default=-1)
        if typed(int, last) >= 0:
            taken = _steps_taken(entry["monitor"], last)
            epoch = typed(int, entry["epoch"])
            run.steps[epoch] = max(taken, run.steps.get(epoch, 0))


def _read_facts(
    facts: dict[str, Any], run: WrittenRun, runs: dict[int, WrittenRun]
) -> None:
    for key in _COUNTS:
        if facts.get(key) is not None:
            _ = typed(int, facts[key])
    run.facts |= {key: facts[key] for key in _KEPT if key in facts}
    if facts.get("ahead") is not None:
        ahead = typed(dict, facts["ahead"])
        run.ahead[typed(int, ahead["epoch"])] = typed(int, ahead["steps"])
    if facts.get("resumed") is None:
        return
    resumed = facts["resumed"]
    _, first = typed(int, resumed["run"]), typed(int, resumed["epoch"])
    for number in replaced_runs(run.number, runs):
        steps = runs[number].steps
        runs[number].steps = {e: n for e, n in steps.items() if e < first}


def replaced_runs(number: int, runs: Mapping[int, Any]) -> list[int]:
    """The interrupted runs that a run continues, latest first.

    Args:
        number: Number of the run.
        runs: Runs with their `facts`, by number.
    """
    replaced: list[int] = []
    while resumed := runs[number].facts.get("resumed"):
        number = resumed["run"]
        if number not in runs or number in replaced:
            break
        replaced.append(number)
    return replaced


def _steps_taken(monitor: str, step: int) -> int:
    """Steps that had been taken when the row of a step was measured."""
    concept = quantities.concept_of(monitor)
    between_steps = concept is not None and concept.between_steps
    return step + (not between_steps)
