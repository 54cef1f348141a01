"""Blocks of a big model, and the rows that a table shows."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts._validation import check_positive_int

MAX_ROWS = 40
# A number that ends a word: the 4 and the 2 of `conv4_block2_conv`.
_NUMBER = re.compile(r"\d+(?![A-Za-z0-9])")
_DEEPEST = 4


class ShownRows(NamedTuple):
    """The rows that a table shows.

    Attributes:
        places: Indices of these rows, in the order shown.
        note: What is left out, and how to see it; `""` if nothing is.
    """

    places: list[int]
    note: str = ""


def block_levels(names: Sequence[str]) -> Iterator[list[str]]:
    """The blocks that rows belong to by the numbers in their names.

    For `conv4_block2_1_conv` these are `conv4_block2_1`, `conv4_block2` and
    `conv4`, and finally `""`, the block that holds all.

    Args:
        names: Names of all rows, in the order of the model.

    Yields:
        The block of each row, from the smallest blocks to the largest.
    """
    for level in range(_DEEPEST, 0, -1):
        yield [_head(name, level) for name in names]
    yield [""] * len(names)


def worst_first(
    names: Sequence[str],
    badness: Sequence[float] | np.ndarray,
    max_rows: int | None,
    order: str = "the worst first, and one or more of each block",
) -> ShownRows:
    """All rows or, for a big model, the worst of each block and others.

    Args:
        names: Names of all rows, in the order of the model.
        badness: One value per row; the largest is the worst, and NaN the best.
        max_rows: Maximum number of rows to show, at least 1; `None` for all.
        order: Text on which rows these are and how they are sorted, for the
            note.

    Raises:
        TypeError: `max_rows` is not an integer.
        ValueError: `max_rows` is below 1.
    """
    if max_rows is not None:
        check_positive_int("summary", "max_rows", max_rows)
    count = len(names)
    if max_rows is None or count <= max_rows:
        return ShownRows(list(range(count)))
    bad = np.nan_to_num(np.asarray(badness, float), nan=-np.inf, posinf=np.inf)
    blocks = next(b for b in block_levels(names) if len(set(b)) <= max_rows)
    ranked = sorted(range(count), key=lambda i: -bad[i])
    worst: dict[str, int] = {}
    for i in ranked:
        _ = worst.setdefault(blocks[i], i)
    kept = list(worst.values())
    kept += [i for i in ranked if i not in set(kept)]
    rank = {block: place for place, block in enumerate(worst)}
    places = sorted(kept[:max_rows], key=lambda i: (rank[blocks[i]], -bad[i]))
    return ShownRows(places, _note(count - max_rows, count, order))


def last_rows(count: int, max_rows: int | None, noun: str) -> ShownRows:
    """All rows, or the last ones, for example of epochs.

    Args:
        count: Number of rows.
        max_rows: See `worst_first`.
        noun: What the rows are.
    """
    if max_rows is not None:
        check_positive_int("summary", "max_rows", max_rows)
    if max_rows is None or count <= max_rows:
        return ShownRows(list(range(count)))
    places = list(range(count - max_rows, count))
    return ShownRows(places, _note(count - max_rows, count, f"the last {noun}"))


def distance_from_the_others(
    sizes: np.ndarray, *bad_shares: Sequence[float] | np.ndarray
) -> np.ndarray:
    """How bad each row is: powers of ten from the median; 0 is furthest.

    Args:
        sizes: One size per row, at least 0; NaN where there is none.
        bad_shares: One share per row, from 0 to 1, such as that of dead units:
            a share of 1 counts as much as a factor of 1,000. NaN where there
            are none.
    """
    positive = sizes[np.isfinite(sizes) & (sizes > 0.0)]
    middle = float(np.median(positive)) if len(positive) else 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        powers = np.minimum(np.abs(np.log10(sizes / middle)), 1e3)
    powers = np.nan_to_num(powers, nan=0.0)
    return powers + sum(3.0 * np.nan_to_num(share) for share in bad_shares)


def _note(left_out: int, count: int, order: str) -> str:
    return (
        f"{left_out} of {count} rows are left out; shown are {order}. "
        "Pass max_rows=None to see all."
    )


def _head(name: str, level: int) -> str:
    """The name up to its number at this level, or the last before it."""
    ends = [found.end() for found in _NUMBER.finditer(name)][:level]
    return name[: ends[-1]] if ends else name
