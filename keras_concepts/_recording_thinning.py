"""What a recording leaves out once it has grown large.

A run of weeks measures more than any machine keeps. Of a recording of more than
a million rows and 128 MiB, whole epochs are left out, of all owners alike, so
that what is compared with each other stays complete. These stay:

- what comes once in a run, and what is measured of the run and not of its
  layers, such as the logs; of this, of up to 2,048 epochs;
- the first 4 and the last 8 epochs;
- the 4 epochs in which some curve was highest above its median, and the 4 in
  which one was lowest below it, in terms of its standard deviation;
- the first 4 epochs, and the last, in which a curve ceased to be finite;
- of the epochs between, 8 or more, spread evenly: each time half of them are
  left out.

What is measured in steps and what is measured by looks between two epochs are
thinned apart, each by the epochs in which it was measured.

The file says what was left out (`left_out`), and so a recording that is read
has the rows that the one in memory had.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._recording_rows import Series

# A recording is thinned if it has more rows than that, and takes more bytes.
MOST_ROWS, MOST_BYTES = 1_000_000, 1 << 27
# How many epochs of what is measured of the run are kept.
MOST_EPOCHS = 2048
# Bytes of a series beside its numbers.
_OVERHEAD = 256
# Share of the bytes that stay.
_ENOUGH = 0.75
_FIRST, _LAST, _BETWEEN = 4, 8, 8
_EXTREME, _BROKEN = 4, 4

# What is thinned together.
RUN, STEPS, LOOKS = "run", "steps", "looks"
LeftOut = Mapping[str, Iterable[int]]


@functools.lru_cache(4096)
def _group(name: str, has_owner: bool, has_index: bool) -> str:
    quantity = q.described(name)
    if quantity.cadence == "once":
        return ""
    if quantity.cadence == "step":
        return STEPS
    is_of_run = quantity.owner == "log" or not has_owner
    return RUN if is_of_run and not has_index else LOOKS


def group_of(series: Series) -> str:
    """What a series is thinned together with; `""` if it always stays."""
    has_index = series.kept_index is not None
    return _group(series.quantity, bool(series.owner), has_index)


def stays(left_out: LeftOut) -> Callable[[Series], bool]:
    """Whether a series is none of those that are left out.

    Args:
        left_out: Epochs of each group.
    """
    epochs = {group: frozenset(found) for group, found in left_out.items()}

    def is_kept(series: Series) -> bool:
        return series.epoch not in epochs.get(group_of(series), ())

    return is_kept


class Thinning:
    """Decides what to leave out of a recording that grows.

    Attributes:
        bytes: That its series take, roughly.
    """

    def __init__(self) -> None:
        self.begin([])

    def begin(self, series: Sequence[Series]) -> None:
        """Looks at a recording from its beginning, after rows were left out."""
        self.bytes = self._rows = self._seen = 0
        self._epochs: set[int] = set()
        self._look(series)
        self._wait()

    def _wait(self) -> None:
        """Where little can be left out, that is not tried after each epoch."""
        self._next = (1.0 + (1.0 - _ENOUGH) / 2.0) * self.bytes

    def _look(self, series: Sequence[Series]) -> None:
        for each in series[self._seen :]:
            self.bytes += _bytes(each)
            self._rows += len(each.steps)
            if group_of(each) == RUN:
                self._epochs.add(each.epoch)
        self._seen = len(series)

    def plan(self, series: Sequence[Series]) -> dict[str, list[int]]:
        """Epochs of each group that are to be left out now.

        Args:
            series: All of the recording.
        """
        self._look(series)
        is_long = len(self._epochs) > MOST_EPOCHS
        is_large = self._rows > MOST_ROWS and self.bytes > max(
            MOST_BYTES, self._next
        )
        if not is_long and not is_large:
            return {}
        groups: dict[str, list[Series]] = defaultdict(list)
        for each in series:
            groups[group_of(each)].append(each)
        left_out = {}
        if is_long:
            left_out[RUN] = _halved(groups[RUN])[0]
        if is_large:
            left_out |= _thinned(groups, self.bytes - _ENOUGH * MOST_BYTES)
            self._wait()
        return {group: found for group, found in left_out.items() if found}


def _bytes(series: Series) -> int:
    index = series.kept_index
    return (
        _OVERHEAD
        + series.kept_values.nbytes
        + (0 if index is None else 2 * index.nbytes)
    )


def _thinned(
    groups: Mapping[str, list[Series]], too_many: float
) -> dict[str, list[int]]:
    """What to leave out of the groups, of the larger one first.

    Args:
        groups: Series of each.
        too_many: Bytes to save.
    """
    left_out: dict[str, list[int]] = {STEPS: [], LOOKS: []}
    sizes = {g: sum(map(_bytes, groups.get(g, ()))) for g in left_out}
    rest = {g: list(groups.get(g, ())) for g in left_out}
    while too_many > 0 and sizes:
        group = max(sizes, key=lambda each: sizes[each])
        epochs, saved = _halved(rest[group])
        if not epochs:
            del sizes[group]
            continue
        left_out[group] += epochs
        gone = frozenset(epochs)
        rest[group] = [s for s in rest[group] if s.epoch not in gone]
        sizes[group] -= saved
        too_many -= saved
    return {group: sorted(epochs) for group, epochs in left_out.items()}


def _halved(group: Sequence[Series]) -> tuple[list[int], int]:
    """Half of the epochs between, and the bytes that they take."""
    sizes: dict[int, int] = defaultdict(int)
    for each in group:
        sizes[each.epoch] += _bytes(each)
    epochs = sorted(sizes)
    between = epochs[_FIRST:-_LAST]
    if len(between) >= 2 * _BETWEEN:
        kept = _events(group, between)
        between = [epoch for epoch in between if epoch not in kept]
    if len(between) < 2 * _BETWEEN:
        return [], 0
    left_out = _densest(epochs, between, len(between) // 2)
    return left_out, sum(sizes[epoch] for epoch in left_out)


def _densest(
    epochs: Sequence[int], between: Sequence[int], count: int
) -> list[int]:
    """The epochs without which the others are spread most evenly.

    One after another, that with the least distance between its neighbours.

    Args:
        epochs: All, sorted.
        between: Those of them that may be left out.
        count: How many are to be.
    """
    left = np.array(epochs)
    is_free = np.isin(left, between)
    found: list[int] = []
    for _ in range(count):
        spans = np.where(is_free[1:-1], left[2:] - left[:-2], left[-1] + 2)
        place = 1 + int(np.argmin(spans))
        found.append(int(left[place]))
        left, is_free = np.delete(left, place), np.delete(is_free, place)
    return sorted(found)


def _events(group: Sequence[Series], between: Sequence[int]) -> set[int]:
    """Epochs in which something happened that must not be left out."""
    curves: dict[Any, dict[int, tuple[float, float, bool]]] = defaultdict(dict)
    for each in group:
        values = each.kept_values
        finite = values[np.isfinite(values)]
        low, high = (
            (float(finite.min()), float(finite.max()))
            if len(finite)
            else (np.nan, np.nan)
        )
        key = each.monitor, each.quantity, each.owner
        curves[key][each.epoch] = low, high, len(finite) < len(values)
    above = dict.fromkeys(between, 0.0)
    below = dict.fromkeys(between, 0.0)
    broken: set[int] = set()
    for curve in curves.values():
        epochs = sorted(curve)
        table = np.array([curve[epoch] for epoch in epochs])
        low, high, is_broken = table.T
        broken.update(
            epochs[i] for i in np.flatnonzero(np.diff(is_broken, prepend=0) > 0)
        )
        known = np.isfinite(low)
        if not known.any():
            continue
        middle = float(np.median((low + high)[known])) / 2.0
        spread = float(np.std(np.concatenate([low[known], high[known]])))
        if not 0.0 < spread < np.inf:
            continue
        for epoch, lowest, highest in zip(epochs, low, high, strict=True):
            if epoch in above and np.isfinite(lowest):
                above[epoch] = max(above[epoch], (highest - middle) / spread)
                below[epoch] = max(below[epoch], (middle - lowest) / spread)
    found = sorted(broken.intersection(between))
    return {
        *sorted(above, key=lambda e: -above[e])[:_EXTREME],
        *sorted(below, key=lambda e: -below[e])[:_EXTREME],
        *found[:_BROKEN],
        *found[-1:],
    }
