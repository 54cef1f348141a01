"""A picture of how far the moving statistics are off."""

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_concepts.recording import Recording
from keras_concepts.reports.batch_norm.table import (
    EMPTY,
    SHIFT,
    VARIANCE,
    batch_norm_paths,
    layer_names,
)
from keras_concepts.reports.drawing.figure_style import (
    LABEL_SIZE,
    TICK_SIZE,
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.names import shorten
from keras_concepts.reports.gradients.history import over_steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MODES = {
    "training_loss": ("#0072b2", "loss by batch statistics"),
    "inference_loss": ("#d55e00", "loss at inference"),
}
_LINE = {"lw": 1.6, "marker": "o", "ms": 3}
_MOST_NAMES = 8
_LONGEST_NAME = 26


def plot_batch_norms(
    recording: Recording, title: str | None = None
) -> "Figure":
    """Draws shifts of the layers over the epochs, dark to light with depth.

    On the left the median shift of the mean in each layer, then the median size
    of the log ratio of the variances; above the dashed lines inference is
    another model. On the right the loss of the probe in both modes or, without
    a probe, how much of their initial value the moving statistics hold.

    Args:
        recording: What a `BatchNormShiftMonitor` recorded.
        title: Text above; by default the largest shift.

    Raises:
        ImportError: matplotlib is not installed.
    """
    rows = recording.select("", "batch_norm_shift")
    if not len(rows):
        return empty_figure(title or EMPTY)
    steps, order = np.unique(rows.step, return_index=True)
    epochs = rows.epoch[order]
    figure = new_figure(12.0, 4.4)
    shift, variance, last = figure.subplots(1, 3)
    entries = _draw_layers(shift, recording, "batch_norm_shift", steps)
    entries.append(_mark(shift, SHIFT))
    shift.set_title("shift of the mean, in σ", loc="left", size=LABEL_SIZE)
    _ = _draw_layers(variance, recording, "batch_norm_variance", steps)
    _ = _mark(variance, VARIANCE)
    variance.set_title(
        "|log(moving / batch variance)|", loc="left", size=LABEL_SIZE
    )
    if "inference_gap" in recording.quantities:
        for quantity, (colour, label) in _MODES.items():
            values = over_steps(recording, quantity, [""], steps)[0]
            entries += last.plot(values, color=colour, label=label, **_LINE)
        last.set_title("loss of the probe", loc="left", size=LABEL_SIZE)
    else:
        _ = _draw_layers(last, recording, "initial_share", steps)
        last.set_title(
            "share of the initial value", loc="left", size=LABEL_SIZE
        )
    for axes in (shift, variance, last):
        axes.set_ylim(0.0, 1.05 * axes.get_ylim()[1])
        axes.set_xlabel("epoch", size=LABEL_SIZE)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.xaxis.set_major_formatter(lambda x, _: _epoch(epochs, x))
        axes.tick_params(labelsize=TICK_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
    add_legend(figure, entries)
    figure.suptitle(title or _headline(rows), size=TITLE_SIZE)
    return figure


def _draw_layers(
    axes: Any, recording: Recording, quantity: str, steps: np.ndarray
) -> list[Any]:
    """Returns the lines that are named."""
    from matplotlib import colormaps

    paths = batch_norm_paths(recording)
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(paths)))
    values = over_steps(recording, quantity, paths, steps)
    # Of many layers the first and the last are named.
    named = set(range(len(paths)))
    if len(paths) > _MOST_NAMES:
        named = {0, len(paths) - 1}
    lines = []
    for i, name in enumerate(layer_names(paths)):
        label = shorten(name, _LONGEST_NAME)
        lines += axes.plot(values[i], color=colours[i], label=label, **_LINE)
    return [line for i, line in enumerate(lines) if i in named]


def _mark(axes: Any, limit: float) -> Any:
    label = "above: another model at inference"
    return axes.axhline(limit, color="0.5", lw=1, ls="--", label=label)


def _epoch(epochs: np.ndarray, position: float) -> str:
    inside = position == int(position) and 0 <= position < len(epochs)
    return str(epochs[int(position)]) if inside else ""


def _headline(rows: Recording) -> str:
    first, last = rows.value[[0, -1]]
    return (
        "Moving against batch statistics: worst layer off by "
        f"{first:.2g} σ at first, {last:.2g} σ in the end"
    )
