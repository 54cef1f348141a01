"""A series of rows as a line of a file, and the other way round.

Short columns are lists of numbers. A long one is a string: the type and the
base64 of its bytes, least significant first, such as `"f4:AACAPwAAAEA="`. It is
a third as long, and is read thirty times as fast.
"""

import base64
import binascii
import math
import re
from typing import Any

import numpy as np

from keras_concepts._recording_rows import Series

# The beginning of a line, to be told from others without parsing it: run,
# monitor, epoch, last step, owner and quantity.
ROWS = re.compile(
    rb'\{"run": (\d{1,9}), "monitor": "([ !#-[\]-~]*)", "epoch": (-?\d{1,9}), '
    rb'"last_step": (-?\d{1,18}), "owner": "((?:[^"\\]|\\.)*)", '
    rb'"quantity": "([ !#-[\]-~]*)", '
)
# From so many numbers on a column is a string.
_LONG = 8
_TYPES = {code: np.dtype(f"<{code}") for code in ("i4", "i8", "f4", "f8")}


def entry_of(series: Series) -> dict[str, Any]:
    """A series as a JSON object."""
    entry = {
        "run": series.run,
        "monitor": series.monitor,
        "epoch": series.epoch,
        # So far in front, it is found without parsing the line.
        "last_step": int(series.steps.max(initial=-1)),
        "owner": series.owner,
        "quantity": series.quantity,
        "steps": _written(series.steps),
        "values": _written(series.kept_values),
    }
    if series.kept_index is not None:
        entry["index"] = _written(series.kept_index)
    return entry


class Columns:
    """Reads columns of numbers, and keeps those once that many lines share."""

    def __init__(self) -> None:
        self._last: tuple[Any, np.ndarray] = None, np.zeros(0, np.int64)

    def steps(self, written: Any) -> np.ndarray:
        """Integers of a line that may be those of the line before.

        Raises:
            TypeError: They are no integers.
            ValueError: They are no numbers.
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
        # JSON has no NaN and no infinity; `float` reads them from a string.
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
