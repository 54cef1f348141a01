"""The line of a file that lists what was left out of a recording."""

import json
from collections.abc import Iterable
from typing import Any

from keras_concepts._recording.lines import ROWS
from keras_concepts._recording.rows import Run

# Far more epochs than any run has, so that damage does not exhaust the memory.
_MOST = 1 << 24


def left_out_entry(run: Run, monitors: set[str]) -> dict[str, Any]:
    """What has been left out of a run so far, as a JSON object.

    Args:
        run: The run.
        monitors: Monitors whose rows were left out.
    """
    return {
        "run": run.number,
        "monitors": sorted(monitors),
        "left_out": {g: _ranges(found) for g, found in run.left_out.items()},
        "judged": run.judged,
    }


def as_json(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict as it will be read back; empty if JSON cannot hold it."""
    try:
        return json.loads(json.dumps(verdict, allow_nan=False, default=float))
    except (TypeError, ValueError):
        return {}


def epochs_of(ranges: dict[str, Any]) -> dict[str, set[int]]:
    """The epochs of each group that an entry lists as left out.

    Raises:
        TypeError: The entry is malformed.
        ValueError: The entry is malformed.
    """
    left_out: dict[str, set[int]] = {}
    for group, pairs in ranges.items():
        found = left_out[group] = set()
        for first, last in pairs:
            if not 0 <= last - first <= _MOST:
                raise ValueError("Expected the first and the last epoch.")
            found.update(range(first, last + 1))
    return left_out


class Gone:
    """Which lines of a file are obsolete.

    Args:
        run: A run, with the epochs that were left out of it.
        monitors: Monitors whose rows were left out.
    """

    def __init__(self, run: Run, monitors: set[str]) -> None:
        self._run = run
        self._monitors = {each.encode() for each in monitors}

    def stays(self, line: bytes) -> bool:
        """Whether a line is not obsolete."""
        rows = ROWS.match(line)
        if rows is None:
            return True
        run, monitor, epoch, _, group = rows.groups()
        if int(run) != self._run.number or monitor not in self._monitors:
            return True
        left_out = self._run.left_out.get(group.decode(), ())
        return int(epoch) not in left_out


def _ranges(epochs: Iterable[int]) -> list[list[int]]:
    ranges: list[list[int]] = []
    for epoch in sorted(epochs):
        if ranges and ranges[-1][1] == epoch - 1:
            ranges[-1][1] = epoch
        else:
            ranges.append([epoch, epoch])
    return ranges
