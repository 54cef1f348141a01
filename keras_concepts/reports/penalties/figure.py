"""A figure of the parts of the loss."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import block_levels
from keras_concepts.reports.drawing.epoch_axis import label_epochs
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TICK_SIZE,
    TITLE_SIZE,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.names import figure_names
from keras_concepts.reports.penalties.parts import (
    EMPTY,
    WHOLE,
    LossParts,
    loss_parts,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = ("0.8", "#d55e00", "#0072b2", "#cc79a7")
_WHOLE_COLOURS = dict(zip((w.label for w in WHOLE), _COLOURS, strict=True))
# From dark to light with depth, readable without colour.
_DEPTH_COLOURS = "viridis"
_MOST_PARTS = 16
_LONGEST_NAME = 26


def plot_penalties(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the loss of each epoch in parts, stacked.

    On the left the data loss, the penalties and other parts; on the right only
    the penalties, with the first layer at the bottom, or per block for a big
    model. Negative parts are below zero.

    Args:
        recording: Recording of a `PenaltyReporter`.
        title: Title; by default the share of the penalties in the loss.

    Raises:
        ImportError: matplotlib is not installed.
    """
    parts = loss_parts(recording)
    if not parts.epochs:
        return empty_figure(title or EMPTY)
    penalties = _grouped(parts.penalties)
    height = max(4.4, 1.6 + 0.24 * len(penalties))
    figure = new_figure(11.0 if penalties else 6.5, height)
    panels = figure.subplots(1, 2 if penalties else 1, squeeze=False)[0]
    colours = [_WHOLE_COLOURS[name] for name in parts.whole]
    _draw_stack(panels[0], parts.epochs, parts.whole, colours)
    panels[0].set_title(
        q.EPOCH_LOSS.label, loc="left", size=LABEL_SIZE, weight="bold"
    )
    if penalties:
        _draw_stack(panels[1], parts.epochs, penalties, _ramp(len(penalties)))
        panels[1].set_title(
            "penalties alone", loc="left", size=LABEL_SIZE, weight="bold"
        )
    figure.suptitle(title or _headline(parts), size=TITLE_SIZE)
    return figure


def _draw_stack(
    axes: Any,
    epochs: Sequence[tuple[int, int]],
    parts: Mapping[str, np.ndarray],
    colours: Sequence[Any],
) -> None:
    """One step per epoch; the legend in the order of the stack."""
    count = len(epochs)
    edges = np.repeat(np.arange(count + 1) - 0.5, 2)[1:-1]
    above, below = np.zeros(count), np.zeros(count)
    areas = []
    names = list(parts)
    for name, values, colour in zip(
        names, parts.values(), colours, strict=True
    ):
        values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
        start = np.where(values < 0.0, below, above)
        areas.append(
            axes.fill_between(
                edges,
                np.repeat(start, 2),
                np.repeat(start + values, 2),
                facecolor=colour,
                edgecolor="white",
                lw=0.4,
                label=name,
            )
        )
        above += np.maximum(values, 0.0)
        below += np.minimum(values, 0.0)
    axes.set_xlim(edges[0], edges[-1])
    if not below.any():
        axes.set_ylim(bottom=0.0)
    label_epochs(axes, epochs)
    axes.legend(
        handles=areas[::-1],
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
        frameon=False,
        fontsize=TICK_SIZE,
    )


def _grouped(parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Penalties by short name; for a big model the sum of each block.

    If names show no blocks, the largest in their order, and the sum of the
    others.
    """
    names = figure_names(list(parts), _LONGEST_NAME)
    if len(parts) <= _MOST_PARTS:
        return dict(zip(names, parts.values(), strict=True))
    for blocks in block_levels(list(parts)):
        if 1 < len(set(blocks)) <= _MOST_PARTS:
            sums: dict[str, Any] = {}
            for block, values in zip(blocks, parts.values(), strict=True):
                sums[block] = sums.get(block, 0.0) + values
            names = figure_names(list(sums), _LONGEST_NAME)
            return dict(zip(names, sums.values(), strict=True))
    sizes = [np.nansum(np.abs(values)) for values in parts.values()]
    kept = set(np.argsort(sizes)[-(_MOST_PARTS - 1) :].tolist())
    shown, rest = {}, []
    for i, (name, values) in enumerate(zip(names, parts.values(), strict=True)):
        if i in kept:
            shown[name] = values
        else:
            rest.append(values)
    return shown | {f"{len(rest)} smaller ones": np.sum(rest, axis=0)}


def _ramp(count: int) -> list[Any]:
    from matplotlib import colormaps

    return list(colormaps[_DEPTH_COLOURS](np.linspace(0.0, 0.95, count)))


def _headline(parts: LossParts) -> str:
    first, last = parts.share[[0, -1]]
    if len(parts.share) == 1:
        return f"Penalties are {last:.1%} of the loss"
    return (
        f"Penalties are {first:.1%} of the loss at first, {last:.1%} at the end"
    )
