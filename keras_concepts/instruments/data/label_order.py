"""Whether labels are sorted, and whether batches hold all classes."""

import numpy as np

_MOST_BATCHES = 4096
_MOST_TERMS = 1_000_000


class LabelOrder:
    """Counts how often the class changes from row to row, and per batch."""

    def __init__(self) -> None:
        self._rows = 0
        self._changes = 0
        self._main: list[int] = []  # of each stretch of batches
        self._last: int | None = None
        self._counts: dict[int, int] = {}
        self._batches: list[tuple[int, int]] = []  # rows, distinct classes

    def update(self, classes: np.ndarray) -> None:
        """Adds a batch, `(n,)`, in its own order."""
        if not len(classes):
            return
        values, counts = np.unique(classes, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self._counts[value] = self._counts.get(value, 0) + count
        self._batches.append((len(classes), len(values)))
        main = int(values[counts.argmax()])
        if self._main[-1:] != [main]:
            self._main.append(main)
        self._changes += int((classes[1:] != classes[:-1]).sum())
        if self._last is not None:
            self._changes += int(classes[0] != self._last)
        self._last = int(classes[-1])
        self._rows += len(classes)

    def sortedness(self) -> float | None:
        """See `sortedness`; `None` if there are fewer than two classes."""
        counts = np.array(list(self._counts.values()), "float64")
        return _sortedness(self._changes, counts)

    def runs(self) -> int | None:
        """See `count_runs`."""
        if not self._rows:
            return None
        return _fewest_runs(self._changes + 1, self._main, len(self._counts))

    def classes_per_batch(self) -> float | None:
        """Mean of distinct classes in a batch over that of random batches."""
        counts = np.array(list(self._counts.values()), "float64")
        if not len(counts):
            return None
        found = expected = 0.0
        known: dict[int, float] = {}
        for rows, distinct in self._batches[:_MOST_BATCHES]:
            if rows not in known:
                known[rows] = distinct_expected(counts, rows)
            found, expected = found + distinct, expected + known[rows]
        return found / expected


def sortedness(classes: np.ndarray) -> float | None:
    """How far rows are sorted by class, 1 for the fewest possible runs.

    1 minus the changes of class over those expected in a random order, which
    are `(n - 1) (1 - sum n_c (n_c - 1) / (n (n - 1)))`; at least 0. `None` with
    fewer than two classes.

    Args:
        classes: `(n,)`.
    """
    if not len(classes):
        return None
    _, counts = np.unique(classes, return_counts=True)
    changes = int((classes[1:] != classes[:-1]).sum())
    return _sortedness(changes, counts.astype("float64"))


def count_runs(classes: np.ndarray, batch_size: int) -> int | None:
    """Number of runs of rows of the same class; `None` without rows.

    Where sorted rows were shuffled a little, the class of single rows changes
    more often. So runs of batches with the same most frequent class count
    instead, if there are fewer of these and each class is the most frequent of
    some batch.

    Args:
        classes: `(n,)`, in their own order.
        batch_size: Rows of a batch.
    """
    if not len(classes):
        return None
    _, numbers = np.unique(classes, return_inverse=True)
    count = int(numbers.max()) + 1
    batches = np.arange(len(numbers)) // batch_size
    keys, counts = np.unique(batches * count + numbers, return_counts=True)
    order = np.lexsort((-(keys % count), counts, keys // count))
    keys = keys[order]
    is_last = np.diff(keys // count, append=-1) != 0
    main = keys[is_last] % count
    first = np.diff(main, prepend=-1) != 0
    rows = int((classes[1:] != classes[:-1]).sum()) + 1
    return _fewest_runs(rows, main[first].tolist(), count)


def _fewest_runs(rows: int, main: list[int], classes: int) -> int:
    """See `count_runs`.

    Args:
        rows: Stretches of rows.
        main: Class of each stretch of batches.
        classes: Number of classes.
    """
    return min(rows, len(main)) if len(set(main)) == classes else rows


def _sortedness(changes: int, counts: np.ndarray) -> float | None:
    if len(counts) < 2:
        return None
    rows = counts.sum()
    expected = (rows - 1) - (counts * (counts - 1)).sum() / rows
    # Even in sorted rows the class changes from each class to the next.
    fewest = len(counts) - 1
    if expected <= fewest:
        return None  # nearly every row has its own class
    share = 1 - (changes - fewest) / (expected - fewest)
    return float(np.clip(share, 0, 1))


def classes_per_batch(classes: np.ndarray, batch_size: int) -> float | None:
    """Mean of distinct classes in a batch over that of random batches.

    Args:
        classes: `(n,)`, in their own order.
        batch_size: Rows of a batch.
    """
    if not len(classes):
        return None
    _, numbers = np.unique(classes, return_inverse=True)
    counts = np.bincount(numbers).astype("float64")
    starts = range(0, len(numbers), batch_size)
    step = max(len(starts) // _MOST_BATCHES, 1)
    found = expected = 0.0
    known: dict[int, float] = {}
    for start in starts[::step]:
        batch = numbers[start : start + batch_size]
        rows = len(batch)
        if rows not in known:
            known[rows] = distinct_expected(counts, rows)
        found += len(np.unique(batch))
        expected += known[rows]
    return found / expected


def distinct_expected(counts: np.ndarray, rows: int) -> float:
    """Distinct classes expected in a random batch, drawn without replacement.

    Args:
        counts: Rows of each class.
        rows: Rows of the batch.
    """
    total = counts.sum()
    if rows * len(counts) > _MOST_TERMS:
        return float((1 - (1 - counts / total) ** rows).sum())
    drawn = np.arange(rows)
    left = np.maximum(total - counts[:, None] - drawn, 0)
    return float((1 - (left / (total - drawn)).prod(axis=1)).sum())
