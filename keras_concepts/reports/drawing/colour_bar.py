"""A colour bar in powers of ten."""

from typing import Any

from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.drawing.scientific_notation import power_ticks


def draw_colour_bar(
    figure: Any,
    image: Any,
    axes: Any,
    zeros: bool,
    label: str = "RMS gradient",
    **layout: Any,
) -> None:
    """A colour bar in powers of ten; exact zeros have a colour of their own.

    Args:
        figure: To draw into.
        image: What `draw_cells` returned.
        axes: Axes or list of axes that it belongs to.
        zeros: Whether exact zeros are shown.
        label: What the colours are.
        layout: For `Figure.colorbar`.
    """
    bar = figure.colorbar(
        image,
        ax=axes,
        extend="min" if zeros else "neither",
        extendfrac=0.06,
        pad=0.015,
        **layout,
    )
    low, high = image.get_clim()
    # The 0 has the place of a tick at the lower end.
    ticks = power_ticks(low + (high - low) / 20.0 if zeros else low, high)
    bar.set_ticks([*ticks], labels=[*ticks.values()])
    bar.set_label(label, size=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE)
    if zeros:
        _ = bar.ax.annotate(
            "0",
            (1.0, -0.03),
            xycoords="axes fraction",
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            size=TICK_SIZE,
        )
