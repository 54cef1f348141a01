"""A figure of the signals through the layers, forward and back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.colour_bar import draw_colour_bar
from keras_concepts.reports.drawing.epoch_axis import label_epoch_columns
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.grid import colour_span
from keras_concepts.reports.drawing.heatmap import (
    draw_cells,
    heatmap_height,
    label_layers,
    patches,
)
from keras_concepts.reports.drawing.names import layer_names
from keras_concepts.reports.drawing.scientific_notation import scientific
from keras_concepts.reports.signals.measurements import (
    Measurement,
    layers_of,
    measurements,
    over_epochs,
)
from keras_concepts.reports.signals.memory_figure import (
    draw_memory,
    memory_height,
)
from keras_concepts.reports.signals.table import EMPTY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {
    q.ERROR_RMS: "error signal, RMS dL/da",
    q.ACTIVATION_STD: "activation, standard deviation",
}
# From this many layers on, those of one class are grouped.
_MANY = 40


def plot_signals(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the signals through the layers, forward and back, over the epochs.

    Two heatmaps, the first layer on top, in colours of equal log10 steps: RMS
    error signal, if there is one, and standard deviation of the activation.
    With more than 40 layers, those of one class are grouped, since the outputs
    of a convolution, its normalization and its activation differ by nature.
    Each column is a measurement; the one at `start` was made before training,
    and a white line separates two runs. Below, for each recurrent layer, what
    `plot_memory` draws.

    Args:
        recording: Recording of a `SignalMonitor`.
        title: Title; by default the share of the last layer's error signal that
            reaches the first.

    Raises:
        ImportError: matplotlib is not installed.
    """
    found = measurements(recording)
    if not found:
        return empty_figure(title or EMPTY)
    layers = layers_of(found, q.ACTIVATION_STD)
    kinds = None
    if len(layers) > _MANY:
        layers, kinds = _in_bands(recording, layers)
    recurrent = layers_of(found, q.STATE_ERROR_RMS)
    heights = [heatmap_height(len(layers)) + 1.0]
    if recurrent:
        heights.append(memory_height(recurrent))
    figure = new_figure(11.0, sum(heights) + 0.8)
    parts = figure.subfigures(
        len(heights), 1, height_ratios=heights, squeeze=False
    )[:, 0]
    entries = _draw_layers(parts[0], found, layers, kinds)
    if recurrent:
        entries |= draw_memory(parts[1], found, recurrent)
    add_legend(figure, [*entries.values()])
    first = layers_of(found, q.ACTIVATION_STD)
    figure.suptitle(title or _headline(found, first), size=TITLE_SIZE)
    return figure


def _in_bands(
    recording: Recording, layers: Sequence[str]
) -> tuple[list[str], list[str] | None]:
    """Layers and their classes, grouped by class."""
    classes = {
        layer["path"]: layer["class"]
        for run in recording.runs
        for layer in run.facts.get("layers", ())
    }
    if not classes:
        return list(layers), None
    # The second width of a shared layer has its own name.
    kinds = [
        classes.get(x) or classes.get(x.rpartition(" (")[0], "other")
        for x in layers
    ]
    order = list(dict.fromkeys(kinds))
    places = sorted(range(len(layers)), key=lambda i: order.index(kinds[i]))
    return [layers[i] for i in places], [kinds[i] for i in places]


def _draw_layers(
    part: Any,
    found: Sequence[Measurement],
    layers: Sequence[str],
    kinds: Sequence[str] | None,
) -> dict[str, Any]:
    """Returns entries for the legend, by label."""
    present = [q for q in _PANELS if layers_of(found, q)]
    panels = part.subplots(1, len(present), squeeze=False)[0]
    entries = {}
    names, height = layer_names(layers), heatmap_height(len(layers))
    for axes, quantity in zip(panels, present, strict=True):
        shown = over_epochs(found, layers, quantity)
        image = draw_cells(axes, shown, colour_span([shown]))
        zeros = bool((shown.values == 0.0).any())
        draw_colour_bar(part, image, axes, zeros=zeros)
        axes.set_title(_PANELS[quantity], loc="left", size=LABEL_SIZE)
        label_epoch_columns(axes, [(m.run, m.epoch) for m in found])
        label_layers(axes, names, height, kinds)
        if axes is not panels[0]:
            axes.set_yticks([])
            axes.set_yticks([], minor=True)
        entries |= patches(shown, "not recorded")
    return entries


def _headline(found: Sequence[Measurement], layers: Sequence[str]) -> str:
    if not layers_of(found, q.ERROR_RMS):
        return "Activations of each layer"
    if (found[-1].all_values(q.ERROR_RMS) == 0.0).all():
        return "All error signals are exactly 0: no gradient flows back"
    shares = [
        measurement.value(layers[0], q.ERROR_ATTENUATION)
        for measurement in (found[0], found[-1])
    ]
    if len(layers) < 2 or not np.isfinite(shares).all():
        return "Error signals and activations of each layer"
    if not any(shares):
        return "No error signal reaches the first layer"
    first, last = map(scientific, shares)
    text = f"The first layer's error signal is {first} times the last layer's"
    if len(found) == 1:
        return text
    return f"{text} at first, {last} at the end"
