"""A figure of the gradients of several recordings, side by side."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.colour_bar import draw_colour_bar
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
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
from keras_concepts.reports.drawing.names import literal
from keras_concepts.reports.drawing.scientific_notation import scientific
from keras_concepts.reports.gradients.binning import step_grid
from keras_concepts.reports.gradients.heatmap import draw_steps
from keras_concepts.reports.gradients.history import History, gradient_history
from keras_concepts.reports.gradients.table import EMPTY, MONITOR
from keras_concepts.reports.selection import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_gradient_stacks(
    recordings: Mapping[str, Recording], title: str | None = None
) -> "Figure":
    """Draws several recordings side by side, on one colour scale.

    Above each is the first layer's gradient over the last layer's, median over
    all steps; only of the last run if another run has other variables.

    Args:
        recordings: Name and recording of each, for example one per activation
            function. One without gradients
            is left out.
        title: Title.

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
        if (history := _history(recording)).paths
    }
    if not histories:
        return empty_figure(title or EMPTY)
    return _draw_stacks(histories, title)


def _history(recording: Recording) -> History:
    return gradient_history(rows_of(recording, MONITOR))


def _draw_stacks(histories: dict[str, History], title: str | None) -> "Figure":
    height = max(heatmap_height(len(h.names)) for h in histories.values())
    names = _common_names(list(histories.values()))
    width = 3.6 if names else 5.0
    figure = new_figure(2.0 + width * len(histories), height + 2.0)
    panels = figure.subplots(1, len(histories), squeeze=False)[0]
    grids = [step_grid(history) for history in histories.values()]
    image, entries = None, {}
    for axes, (name, history), shown in zip(
        panels, histories.items(), grids, strict=True
    ):
        image = draw_steps(axes, history, shown, colour_span(grids))
        entries |= patches(shown)
        label_layers(axes, names or history.names, height)
        axes.set_xlabel(history.step_label, size=LABEL_SIZE)
        compared = history.of_one_model()
        share = f"median first / last: {scientific(compared.attenuation())}"
        share += "" if compared is history else " (last run)"
        _label_panel(axes, literal(name), share)
    if names:
        for axes in panels[1:]:
            axes.set_yticks([])
    zeros = any((shown.values == 0.0).any() for shown in grids)
    draw_colour_bar(
        figure,
        image,
        list(panels),
        q.GRADIENT_RMS.label,
        zeros=zeros,
        aspect=30,
    )
    add_legend(figure, [*entries.values()])
    figure.suptitle(
        title or f"{q.GRADIENT_RMS.label} of each layer, first layer on top",
        size=TITLE_SIZE,
    )
    return figure


def _label_panel(axes: Any, name: str, share: str) -> None:
    """One line each, as two titles: an exponent would shift a shared title."""
    axes.set_title(name + "\n ", loc="left", size=LABEL_SIZE, weight="bold")
    axes.set_title(share, loc="right", size=LABEL_SIZE, x=0.0, ha="left")


def _common_names(histories: Sequence[History]) -> list[str] | None:
    """Names for all panels, if the recordings have the same number of layers.

    Keras keeps counting from model to model (`dense_13`), so corresponding
    layers may have different names: then they are numbered.
    """
    names = histories[0].names
    if all(history.names == names for history in histories):
        return names
    if all(len(history.names) == len(names) for history in histories):
        return [str(i + 1) for i in range(len(names))]
    return None
