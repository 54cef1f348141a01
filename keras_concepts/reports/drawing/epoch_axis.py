"""Axes of epochs, one after the other, over several runs."""

import itertools
from collections.abc import Sequence
from typing import Any

from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.selection import epoch_name


def label_epochs(axes: Any, epochs: Sequence[tuple[int, int]]) -> None:
    """Labels positions 0, 1, ... with the numbers of their epochs.

    A dotted line divides two runs.

    Args:
        axes: `matplotlib.axes.Axes` that has been drawn into.
        epochs: Run and epoch, from 0, of each position.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    names = [epoch_name(epoch) for _, epoch in epochs]

    def name(position: float, _: Any) -> str:
        inside = position == int(position) and 0 <= position < len(names)
        return names[int(position)] if inside else ""

    axes.xaxis.set_major_locator(
        MaxNLocator(10, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1)
    )
    axes.xaxis.set_major_formatter(FuncFormatter(name))
    for after, ((run, _), (following, _)) in enumerate(
        itertools.pairwise(epochs)
    ):
        if run != following:
            axes.axvline(after + 0.5, color="0.5", lw=1, ls=":")
    axes.set_xlabel("epoch", size=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
