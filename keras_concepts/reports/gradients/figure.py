"""Pictures of a recording."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.colour_bar import draw_colour_bar
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.grid import colour_span, grid
from keras_concepts.reports.drawing.heatmap import (
    draw_heatmap,
    heatmap_height,
    label_layers,
    patches,
)
from keras_concepts.reports.drawing.scientific_notation import power_text
from keras_concepts.reports.gradients.curves import draw_curves
from keras_concepts.reports.gradients.history import History, gradient_history

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EMPTY = "No gradients have been recorded yet."


def plot_gradients(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the RMS gradient of each layer over the training.

    Above, a heatmap: kernels and embeddings, the first layer on top, over the
    training steps, in colours of equal log10 steps. Below, the first and last
    kernel as curves, with a band from the 10th to the 90th percentile where
    several steps share a point.

    Args:
        recording: What a `GradientMonitor` recorded.
        title: Text above; by default the first layer's gradient as a share of
            the last's.

    Raises:
        ImportError: matplotlib is not installed.
    """
    history = gradient_history(recording)
    if not history.paths:
        return empty_figure(title or _EMPTY)
    height = heatmap_height(len(history.names))
    figure = new_figure(10.0, height + 3.7)
    above, below = figure.subplots(
        2, 1, sharex=True, height_ratios=[height, 2.0]
    )
    shown = grid(history)
    image = draw_heatmap(above, history, shown, colour_span([shown]))
    label_layers(above, history.names, height)
    draw_colour_bar(figure, image, above, bool((shown.values == 0.0).any()))
    lines = draw_curves(below, history)
    add_legend(figure, [*lines, *patches(shown).values()])
    figure.suptitle(title or _headline(history), size=TITLE_SIZE)
    return figure


def plot_gradient_stacks(
    recordings: Mapping[str, Recording], title: str | None = None
) -> "Figure":
    """Draws several trainings side by side, on one colour scale.

    Above each is what the first kernel's gradient is of the last's, median
    over all steps.

    Args:
        recordings: Name of each training and what was recorded of it, for
            example one for each activation function. One without gradients
            is left out.
        title: Text above.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: There is no recording.
    """
    if not recordings:
        raise ValueError(
            "`recordings` of `plot_gradient_stacks` must hold at least one "
            "recording. Received: none."
        )
    histories = {
        name: history
        for name, recording in recordings.items()
        if (history := gradient_history(recording)).paths
    }
    if not histories:
        return empty_figure(title or _EMPTY)
    return _draw_stacks(histories, title)


def _draw_stacks(histories: dict[str, History], title: str | None) -> "Figure":
    height = max(heatmap_height(len(h.names)) for h in histories.values())
    names = _common_names(list(histories.values()))
    width = 3.6 if names else 5.0
    figure = new_figure(2.0 + width * len(histories), height + 2.0)
    panels = figure.subplots(1, len(histories), squeeze=False)[0]
    grids = [grid(history) for history in histories.values()]
    image, entries = None, {}
    for axes, (name, history), shown in zip(
        panels, histories.items(), grids, strict=True
    ):
        image = draw_heatmap(axes, history, shown, colour_span(grids))
        entries |= patches(shown)
        label_layers(axes, names or history.names, height)
        axes.set_xlabel("training step", size=LABEL_SIZE)
        share = power_text(history.attenuation())
        _label_panel(axes, name, f"median first / last: {share}")
    if names:
        for axes in panels[1:]:
            axes.set_yticks([])
    zeros = any((shown.values == 0.0).any() for shown in grids)
    draw_colour_bar(figure, image, list(panels), zeros, aspect=30)
    add_legend(figure, [*entries.values()])
    figure.suptitle(
        title or "RMS gradient of each layer, first layer on top",
        size=TITLE_SIZE,
    )
    return figure


def _label_panel(axes: Any, name: str, share: str) -> None:
    """A line each, as two titles: an exponent would lift a common one."""
    axes.set_title(name + "\n ", loc="left", size=LABEL_SIZE, weight="bold")
    axes.set_title(share, loc="right", size=LABEL_SIZE, x=0.0, ha="left")


def _common_names(histories: Sequence[History]) -> list[str] | None:
    """Names that serve all panels, if the trainings have equally many layers.

    Keras counts on from model to model (`dense_13`), so the names may differ
    where the layers correspond: then they are numbered.
    """
    names = histories[0].names
    if all(history.names == names for history in histories):
        return names
    if all(len(history.names) == len(names) for history in histories):
        return [str(i + 1) for i in range(len(names))]
    return None


def _headline(history: History) -> str:
    count = len(history.steps)
    bad = int(history.nonfinite.any(axis=0).sum())
    zero = int((history.values == 0.0).all(axis=0).sum())
    if 2 * zero > count:
        return f"All gradients are exactly zero in {zero} of {count} steps"
    if 2 * bad > count:
        return f"Gradients are not finite in {bad} of {count} steps"
    text = "RMS gradient of each layer"
    share = history.attenuation()
    if len(history.names) > 1 and np.isfinite(share):
        text = (
            f"The first {history.kind}'s gradient is {power_text(share)} times "
            "the last's"
        )
    return text + (f"; not finite in {bad} of {count} steps" if bad else "")
