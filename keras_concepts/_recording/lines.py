"""Converts series of rows to lines of a file, and back.

What a monitor measured at the same steps of an epoch is one line: all owners,
quantities and steps once, and the values, one series after another. A short
column of numbers is a list. A longer one is a string: the type and the base64
of the bytes, least significant first, such as `"f4:AACAPwAAAEA="`, which is a
third as long and is read thirty times as fast.
"""

import base64
import binascii
import itertools
import math
import operator
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from keras_concepts._recording.rows import Series
from keras_concepts._recording.thinning import group_of

# The beginning of a line of rows, recognised without parsing the line: run,
# monitor, epoch, last step and the group that it is thinned with.
ROWS = re.compile(
    rb'\{"run": (\d{1,9}), "monitor": "([ !#-[\]-~]*)", "epoch": (-?\d{1,9}), '
    rb'"last_step": (-?\d{1,18}), "group": "([a-z]*)", '
)
# Columns of this many numbers or more are written as strings.
_LONG = 8
# Most series per line: one damaged line should not lose too many.
_MOST = 1024
_TYPES = {code: np.dtype(f"<{code}") for code in ("i4", "i8", "f4", "f8")}


def entries_of(series: Iterable[Series]) -> Iterator[dict[str, Any]]:
    """Series as JSON objects, one or more in each."""
    together: list[Series] = []
    group = ""
    for each in series:
        belongs = group_of(each)
        if together and not (
            belongs == group
            and len(together) < _MOST
            and _are_alike(together[0], each)
        ):
            yield _entry_of(together, group)
            together = []
        together.append(each)
        group = belongs
    if together:
        yield _entry_of(together, group)


def _are_alike(one: Series, other: Series) -> bool:
    return (
        (one.run, one.monitor, one.epoch)
        == (other.run, other.monitor, other.epoch)
        and one.kept_index is None
        and other.kept_index is None
        and one.kept_values.dtype == other.kept_values.dtype
        and np.array_equal(one.steps, other.steps)
    )


def _entry_of(together: list[Series], group: str) -> dict[str, Any]:
    first = together[0]
    by_owner = itertools.groupby(together, operator.attrgetter("owner"))
    entry = {
        "run": first.run,
        "monitor": first.monitor,
        "epoch": first.epoch,
        "last_step": int(first.steps.max(initial=-1)),
        "group": group,
        "of": [
            [owner, [s.quantity for s in those]] for owner, those in by_owner
        ],
        "steps": _written(first.steps),
        "values": _written(np.concatenate([s.kept_values for s in together])),
    }
    if first.kept_index is not None:
        entry["index"] = _written(first.kept_index)
    return entry


class Columns:
    """Reads columns of numbers, and keeps one copy if lines share them."""

    def __init__(self) -> None:
        self._last: tuple[Any, np.ndarray] = None, np.zeros(0, np.int64)

    def steps(self, written: Any) -> np.ndarray:
        """The integers of a line, often the same as in the line before.

        Raises:
            TypeError: They are not integers.
            ValueError: They are not numbers.
        """
        if written != self._last[0]:
            self._last = written, self.integers(written)
        return self._last[1]

    def integers(self, written: Any) -> np.ndarray:
        """A column of integers, int64; see `steps`."""
        if isinstance(written, str):
            return _decoded(written).astype(np.int64, casting="safe")
        if not isinstance(written, list) or set(map(type, written)) - {int}:
            raise TypeError("Expected integers.")
        return np.array(written, np.int64)

    def numbers(self, written: Any) -> np.ndarray:
        """A column of numbers, float32 or float64; see `steps`."""
        if isinstance(written, str):
            return _decoded(written)
        return np.array([float(value) for value in written])


def _written(column: np.ndarray) -> Any:
    if len(column) < _LONG:
        # JSON has neither NaN nor infinity; `float` reads them from a string.
        return [v if math.isfinite(v) else str(v) for v in column.tolist()]
    if column.dtype == np.int64 and np.abs(column).max() < 1 << 31:
        column = column.astype(np.int32)
    code = f"{column.dtype.kind}{column.dtype.itemsize}"
    data = column.astype(_TYPES[code], copy=False).tobytes()
    return f"{code}:{base64.b64encode(data).decode()}"


def _decoded(text: str) -> np.ndarray:
    code, _, data = text.partition(":")
    if code not in _TYPES:
        raise ValueError(f"Expected one of {[*_TYPES]}.")
    raw = binascii.a2b_base64(data, strict_mode=True)
    return np.frombuffer(raw, _TYPES[code])
