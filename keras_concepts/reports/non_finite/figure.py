"""A figure of where a training run became non-finite."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TICK_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.names import literal, shorten
from keras_concepts.reports.non_finite.faults import (
    ALL_FINITE,
    EMPTY,
    MONITOR,
    Fault,
    faults,
)
from keras_concepts.reports.selection import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Characters of a sentence above the figure.
_LONGEST = 240


def plot_non_finite(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the loss at the end of each epoch and a line at the first fault.

    Each run has its own curve and its own first fault.

    Args:
        recording: Recording of a `NonFiniteGuard`.
        title: Title; by default the first fault.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = rows_of(recording, MONITOR)
    losses = rows.select(owner="", quantity=q.BATCH_LOSS)
    found = faults(rows)
    if not len(losses) and not found:
        return empty_figure(title or EMPTY)
    figure = new_figure(9.0, 4.2)
    axes = figure.subplots()
    for run in sorted({series.run for series in losses}):
        of_run = losses.select(run=run)
        order = np.argsort(of_run.step)
        steps, values = of_run.step[order], of_run.value[order]
        _ = axes.plot(
            steps,
            np.where(np.isfinite(values), values, np.nan),
            "o-",
            color="#0072b2",
        )
    entries = [
        axes.axvline(fault.step, color="#d55e00", ls="--") for fault in found
    ][:1]
    for entry in entries:
        entry.set_label("first non-finite value")
    if not np.isfinite(losses.value).any():
        axes.set_yticks([])
        axes.set_ylim(0.0, 1.0)
        _ = axes.text(
            *(0.5, 0.5, "no epoch ended with a finite loss"),
            transform=axes.transAxes,
            ha="center",
            size=LABEL_SIZE,
            backgroundcolor="white",
        )
    last = max([*losses.step, *(fault.step for fault in found)])
    axes.set_xlim(-0.02 * last - 0.5, 1.02 * last + 0.5)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("training step", size=LABEL_SIZE)
    axes.set_ylabel("loss, last step of each epoch", size=LABEL_SIZE)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    add_legend(figure, entries)
    figure.suptitle(title or _headline(found), size=LABEL_SIZE)
    return figure


def _headline(found: Sequence[Fault]) -> str:
    sentences = [
        textwrap.fill(sentence, 90)
        for sentence in shorten([str(fault) for fault in found[:2]], _LONGEST)
    ]
    if len(found) > 2:
        sentences.append(f"and in {len(found) - 2} more runs")
    return literal("\n".join(sentences)) or ALL_FINITE
