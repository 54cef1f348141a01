"""Where a batch of sequences is padded."""

from typing import NamedTuple

import numpy as np

# Zeros elsewhere in a sequence are tokens; a few may stand there by mistake.
_AT_THE_EDGE = 0.9
_FEWEST_STEPS = 4


class Padding(NamedTuple):
    """Padded steps of a batch.

    Attributes:
        steps: True where a step is padding, `(rows, steps)`.
    """

    steps: np.ndarray

    @property
    def share(self) -> float:
        """Share of all steps that are padding."""
        return float(np.mean(self.steps)) if self.steps.size else 0.0

    @property
    def empty_rows(self) -> int:
        """Rows that are padding from end to end."""
        return int(self.steps.all(axis=1).sum())

    @property
    def side(self) -> str:
        """Where the padding is.

        `"left"`, `"right"`, `"both"` (at both ends of a row), `"mixed"` (left
        in some rows and right in others), `"inside"`, or `"none"`.
        """
        rows = self.steps[~self.steps.all(axis=1)]
        left, right = rows[:, :1].any(1), rows[:, -1:].any(1)
        if (left & right).any():
            return "both"
        if left.any() and right.any():
            return "mixed"
        if left.any() or right.any():
            return "left" if left.any() else "right"
        return "inside" if rows.any() else "none"

    def __str__(self) -> str:
        where = {
            "left": " on the left",
            "right": " on the right",
            "both": " on both sides",
            "mixed": ", left in some rows and right in others",
            "inside": " in the middle",
            "none": "",
        }
        return f"{self.share:.0%} of the steps are padding{where[self.side]}"


def padding_of_ids(ids: np.ndarray) -> Padding | None:
    """The runs of 0 at one end of the rows, if 0 looks like padding.

    It does if nearly all zeros are in such runs, at the same end of all rows;
    if there is a run of two or more; and if the other numbers are not all the
    same (as in segment ids). Rows of up to three numbers are treated as columns
    of a table, where 0 is a category.

    Args:
        ids: Integers of shape `(..., steps)`.
    """
    if ids.ndim < 2 or ids.shape[-1] < _FEWEST_STEPS:
        return None
    if len(np.unique(ids[ids != 0])) < 2:
        return None
    zeros = (ids == 0).reshape(-1, ids.shape[-1])
    left = np.logical_and.accumulate(zeros, axis=1)
    right = np.logical_and.accumulate(zeros[:, ::-1], axis=1)[:, ::-1]
    edges = max(left, right, key=np.sum)
    if edges.sum(axis=1).max() < 2 or edges.sum() < _AT_THE_EDGE * zeros.sum():
        return None
    return Padding(edges)
