"""Axes of consecutive epochs over several runs."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.selection import epoch_name


def label_epochs(axes: Any, epochs: Sequence[tuple[int, int]]) -> None:
    """Labels positions 0, 1, ... of a line plot with their epochs.

    A dotted line separates two runs.

    Args:
        axes: `matplotlib.axes.Axes`.
        epochs: Run and epoch, from 0, of each position.
    """
    _set_labels(axes, epochs)
    for position in run_ends(epochs):
        axes.axvline(position, color="0.5", lw=1, ls=":")
    axes.spines[["top", "right"]].set_visible(False)


def label_epoch_columns(axes: Any, epochs: Sequence[tuple[int, int]]) -> None:
    """Labels the columns of a heatmap with their epochs.

    A white line divides two runs.

    Args:
        axes: `matplotlib.axes.Axes` of a heatmap whose columns are 1 wide.
        epochs: Run and epoch, from 0, of each column; -1 before training.
    """
    _set_labels(axes, epochs)
    for position in run_ends(epochs):
        axes.axvline(position, color="white", lw=3)


def run_ends(epochs: Sequence[tuple[int, int]]) -> list[float]:
    """Positions between the last epoch of a run and the first of the next."""
    return [
        after + 0.5
        for after, (one, other) in enumerate(itertools.pairwise(epochs))
        if one[0] != other[0]
    ]


def labelled(
    axes: Any, epochs: Sequence[tuple[int, int]]
) -> tuple[list[int], list[str]]:
    """Positions with a label, so that all labels fit, and the labels.

    They are at the start of each run and, in between, at round numbers.
    """
    numbers = [epoch + 1 for _, epoch in epochs]
    every = _columns_per_label(axes, len(epochs), len(str(max(numbers))))
    begins = [0, *(math.ceil(end) for end in run_ends(epochs))]
    kept: list[int] = []
    for position in begins:
        if not kept or position - kept[-1] >= every:
            kept.append(position)
    for position, number in enumerate(numbers):
        # The label of an epoch 1 may be a little closer to the next.
        room = min(abs(position - other) for other in kept)
        if number % every == 0 and room >= math.ceil(0.8 * every):
            kept.append(position)
    kept.sort()
    return kept, [epoch_name(epochs[position][1]) for position in kept]


def _set_labels(axes: Any, epochs: Sequence[tuple[int, int]]) -> None:
    positions, labels = labelled(axes, epochs)
    axes.set_xticks(positions, labels)
    axes.set_xlabel("epoch", size=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)


def _columns_per_label(axes: Any, columns: int, characters: int) -> int:
    """1, 2, 5, 10, ... so that labels of this many characters fit."""
    from matplotlib.ticker import MaxNLocator

    inches = axes.bbox.width / axes.figure.dpi
    room = max(2, int(inches / (0.3 + 0.1 * characters)))
    locator = MaxNLocator(room, steps=[1, 2, 5, 10], integer=True)
    first, second, *_ = locator.tick_values(0, max(columns, 1))
    return round(second - first)
