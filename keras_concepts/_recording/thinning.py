"""What a recording leaves out once it has grown large.

A run of weeks measures more than a machine can keep. A recording of more than a
million rows and 128 MiB leaves out whole epochs, of all owners alike, so that
values that are compared with each other stay complete. The following stay:

- what is measured once in a run, and what is measured of the run rather than
  of its layers, such as the logs; the latter for up to 2,048 epochs;
- the first 4 and the last 8 epochs;
- the 4 epochs in which some curve was highest above its median, and the 4 in
  which one was lowest below it, relative to its standard deviation;
- the first 4 epochs in which a curve ceased to be finite, and the last one;
- of the other epochs, 8 or more, spread evenly: each time, half of them are
  left out.

What is measured in steps and what is measured by looks between two epochs are
thinned separately, each by the epochs in which it was measured.

The file lists what was left out (`left_out`), so a recording that is read has
the same rows as the one in memory.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._recording.rows import Series

# A recording with more rows than this that takes more bytes is thinned.
MOST_ROWS, MOST_BYTES = 1_000_000, 1 << 27
# Most epochs to keep of what is measured of the run.
MOST_EPOCHS = 2048
# Bytes that a series takes in addition to its numbers.
_OVERHEAD = 256
# Share of the allowed bytes that remains after thinning.
_ENOUGH = 0.75
_FIRST, _LAST, _BETWEEN = 4, 8, 8
_EXTREME, _BROKEN = 4, 4

# Groups, each of which is thinned as a whole.
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
    """The group that a series is thinned with; `""` if it always stays."""
    has_index = series.kept_index is not None
    return _group(series.quantity, bool(series.owner), has_index)


def stays(left_out: LeftOut) -> Callable[[Series], bool]:
    """Returns a function that is true of a series that was not left out.

    Args:
        left_out: Epochs left out of each group.
    """
    epochs = {group: frozenset(found) for group, found in left_out.items()}

    def is_kept(series: Series) -> bool:
        return series.epoch not in epochs.get(group_of(series), ())

    return is_kept


class Thinning:
    """Decides what to leave out of a growing recording.

    Attributes:
        bytes: Approximate bytes of its series.
    """

    def __init__(self) -> None:
        self.begin([])

    def begin(self, series: Sequence[Series]) -> None:
        """Examines a recording from its beginning, after rows were left out."""
        self.bytes = self._rows = self._seen = 0
        self._epochs: set[int] = set()
        self._look(series)
        self._wait()

    def _wait(self) -> None:
        """Avoids a new attempt after each epoch if little can be left out."""
        self._next = (1.0 + (1.0 - _ENOUGH) / 2.0) * self.bytes

    def _look(self, series: Sequence[Series]) -> None:
        for each in series[self._seen :]:
            self.bytes += _bytes(each)
            self._rows += len(each.steps)
            if group_of(each) == RUN:
                self._epochs.add(each.epoch)
        self._seen = len(series)

    def plan(self, series: Sequence[Series]) -> dict[str, list[int]]:
        """The epochs of each group to leave out now.

        Args:
            series: All series of the recording.
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
            left_out[RUN] = _Group(groups[RUN]).halve()[0]
        if is_large:
            too_many = self.bytes - _ENOUGH * MOST_BYTES
            left_out |= _thinned(groups[STEPS], groups[LOOKS], too_many)
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
    steps: Sequence[Series], looks: Sequence[Series], too_many: float
) -> dict[str, list[int]]:
    """What to leave out of two groups, from the larger one first.

    Args:
        steps: Series measured in steps.
        looks: Series measured between two epochs.
        too_many: Bytes to save.
    """
    groups = {STEPS: _Group(steps), LOOKS: _Group(looks)}
    left_out: dict[str, list[int]] = {name: [] for name in groups}
    while too_many > 0.0 and groups:
        name = max(groups, key=lambda each: groups[each].size)
        epochs, saved = groups[name].halve()
        if not epochs:
            del groups[name]
        left_out[name] += epochs
        too_many -= saved
    return {name: sorted(epochs) for name, epochs in left_out.items()}


class _Group:
    """Series that are thinned together.

    Args:
        series: Series of some curves, each in some epochs.
    """

    def __init__(self, series: Sequence[Series]) -> None:
        self._epochs = np.unique([each.epoch for each in series])
        columns = {epoch: i for i, epoch in enumerate(self._epochs.tolist())}
        rows: dict[tuple[str, str, str], int] = {}
        for each in series:
            key = each.monitor, each.quantity, each.owner
            _ = rows.setdefault(key, len(rows))
        shape = len(rows), len(columns)
        self._sizes = np.zeros(len(columns))
        # For each curve and epoch.
        self._lowest = np.full(shape, np.nan)
        self._highest = np.full(shape, np.nan)
        self._is_broken = np.zeros(shape, bool)
        for each in series:
            column = columns[each.epoch]
            self._sizes[column] += _bytes(each)
            low, high, is_broken = _range(each.kept_values)
            at = rows[each.monitor, each.quantity, each.owner], column
            self._lowest[at] = np.fmin(self._lowest[at], low)
            self._highest[at] = np.fmax(self._highest[at], high)
            self._is_broken[at] |= is_broken

    @property
    def size(self) -> float:
        """Bytes of all epochs."""
        return float(self._sizes.sum())

    def halve(self) -> tuple[list[int], float]:
        """Leaves out half of the middle epochs without notable events.

        Returns:
            The epochs, and the bytes that they took; none if there are too few.
        """
        is_free = np.zeros(len(self._epochs), bool)
        is_free[_FIRST:-_LAST] = True
        if is_free.sum() >= 2 * _BETWEEN:
            is_free[self._events(np.flatnonzero(is_free))] = False
        count = int(is_free.sum())
        if count < 2 * _BETWEEN:
            return [], 0.0
        gone = _densest(self._epochs, is_free, count // 2)
        epochs, saved = self._epochs[gone], self._sizes[gone].sum()
        self._epochs = np.delete(self._epochs, gone)
        self._sizes = np.delete(self._sizes, gone)
        for name in ("_lowest", "_highest", "_is_broken"):
            setattr(self, name, np.delete(getattr(self, name), gone, axis=1))
        return sorted(epochs.tolist()), float(saved)

    def _events(self, between: np.ndarray) -> np.ndarray:
        """The columns in `between` that show what must not be left out."""
        low, high = self._lowest, self._highest
        both = np.ma.masked_invalid(np.concatenate([low, high], axis=1))
        with np.errstate(over="ignore", invalid="ignore"):
            middle = np.ma.median(both, axis=1).filled(0.0)[:, None]
            spread = np.ma.std(both, axis=1).filled(0.0)[:, None]
        usable = np.isfinite(low) & np.isfinite(spread) & (spread > 0.0)
        spread = np.where(spread > 0.0, spread, 1.0)
        with np.errstate(over="ignore"):
            up, down = (high - middle) / spread, (middle - low) / spread
        above = np.where(usable, up, 0.0).max(axis=0)
        below = np.where(usable, down, 0.0).max(axis=0)
        begins = np.diff(self._is_broken, axis=1, prepend=False)
        begins = np.logical_or.reduce(begins & self._is_broken, axis=0)
        begins = np.flatnonzero(begins[between])
        return np.concatenate(
            [
                between[np.argsort(-above[between], kind="stable")[:_EXTREME]],
                between[np.argsort(-below[between], kind="stable")[:_EXTREME]],
                between[begins[:_BROKEN]],
                between[begins[-1:]],
            ]
        )


def _range(values: np.ndarray) -> tuple[float, float, bool]:
    """Smallest and largest finite value, and whether any is not finite."""
    if not len(values):
        return np.nan, np.nan, False
    low, high = float(values.min()), float(values.max())
    if np.isfinite(high - low):
        return low, high, False
    finite = values[np.isfinite(values)]
    if len(finite) == len(values):  # very large values of both signs
        return low, high, False
    if not len(finite):
        return np.nan, np.nan, True
    return float(finite.min()), float(finite.max()), True


def _densest(epochs: np.ndarray, is_free: np.ndarray, count: int) -> list[int]:
    """The epochs to leave out so that the others are spread most evenly.

    Chosen one at a time: the epoch whose neighbours are closest together.

    Args:
        epochs: Sorted epochs.
        is_free: Which of them may be left out: neither the first nor the last.
        count: How many to leave out.

    Returns:
        Their positions.
    """
    left = np.arange(len(epochs))
    found: list[int] = []
    for _ in range(count):
        spans = epochs[left[2:]] - epochs[left[:-2]]
        spans = np.where(is_free[left[1:-1]], spans, np.inf)
        place = 1 + int(np.argmin(spans))
        found.append(int(left[place]))
        left = np.delete(left, place)
    return found
