"""A figure of the gradients of one recording."""

from typing import TYPE_CHECKING

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.colour_bar import draw_colour_bar
from keras_concepts.reports.drawing.figure_style import (
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.grid import colour_span
from keras_concepts.reports.drawing.heatmap import (
    heatmap_height,
    label_layers,
    patches,
)
from keras_concepts.reports.drawing.scientific_notation import scientific
from keras_concepts.reports.gradients.binning import step_grid
from keras_concepts.reports.gradients.curves import draw_curves
from keras_concepts.reports.gradients.heatmap import draw_steps
from keras_concepts.reports.gradients.history import History, gradient_history
from keras_concepts.reports.gradients.table import EMPTY, MONITOR
from keras_concepts.reports.selection import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_gradients(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the RMS gradient of each layer over all runs.

    Above, a heatmap: kernels and embeddings, the first layer on top, over the
    training steps, in colours of equal log10 steps. Below, the weights of the
    first and the last layer as curves, with a band from the 10th to the 90th
    percentile where several steps share a point; only for the last run if
    another run has other variables. Runs that were recorded at the same time
    are drawn side by side.

    Args:
        recording: Recording of a `GradientMonitor`.
        title: Title; by default the first layer's gradient as a share of the
            last layer's.

    Raises:
        ImportError: matplotlib is not installed.
    """
    history = gradient_history(rows_of(recording, MONITOR))
    if not history.paths:
        return empty_figure(title or EMPTY)
    height = heatmap_height(len(history.names))
    figure = new_figure(10.0, height + 3.7)
    above, below = figure.subplots(
        2, 1, sharex=True, height_ratios=[height, 2.0]
    )
    shown = step_grid(history)
    image = draw_steps(above, history, shown, colour_span([shown]))
    label_layers(above, history.names, height)
    draw_colour_bar(
        figure,
        image,
        above,
        q.GRADIENT_RMS.label,
        zeros=bool((shown.values == 0.0).any()),
    )
    lines = draw_curves(below, history)
    add_legend(figure, [*lines, *patches(shown).values()])
    figure.suptitle(title or _headline(history), size=TITLE_SIZE)
    return figure


def _headline(history: History) -> str:
    count = len(history.steps)
    bad = int(history.nonfinite.any(axis=0).sum())
    zero = int((history.values == 0.0).all(axis=0).sum())
    if 2 * zero > count:
        return f"All gradients are exactly zero in {zero} of {count} steps"
    if 2 * bad > count:
        return f"Gradients are not finite in {bad} of {count} steps"
    text = f"{q.GRADIENT_RMS.label} of each layer"
    compared = history.of_one_model()
    share = compared.attenuation()
    if compared.ends[0] != compared.ends[1] and np.isfinite(share):
        start = "The" if compared is history else "In the last run, the"
        text = (
            f"{start} first layer's gradient is {scientific(share)} "
            "times the last layer's"
        )
    return text + (f"; not finite in {bad} of {count} steps" if bad else "")
