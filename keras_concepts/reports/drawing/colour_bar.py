"""A colour bar of a logarithmic scale."""

import math
from typing import Any

from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE


def draw_colour_bar(
    figure: Any,
    image: Any,
    axes: Any,
    label: str = "",
    *,
    zeros: bool,
    **layout: Any,
) -> None:
    """A colour bar in powers of ten; exact zeros have their own colour.

    Args:
        figure: Figure to draw into.
        image: The result of `draw_cells`.
        axes: Axes or list of axes that it belongs to.
        label: Meaning of the colours.
        zeros: Whether exact zeros are shown.
        layout: Arguments of `Figure.colorbar`.
    """
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    bar = figure.colorbar(
        image,
        ax=axes,
        extend="min" if zeros else "neither",
        extendfrac=0.06,
        pad=0.015,
        **layout,
    )
    low, high = image.get_clim()
    # The 0 is placed as a tick at the lower end.
    lowest = low * (high / low) ** 0.05 if zeros else low
    # On short scales there is room for more than powers of ten.
    subs = (1.0, 2.0, 5.0) if high / low < 100.0 else (1.0,)
    ticks = LogLocator(subs=subs, numticks=9).tick_values(low, high)
    bar.set_ticks(
        [tick for tick in ticks if lowest <= tick <= high],
    )
    bar.ax.yaxis.set_major_formatter(
        LogFormatterSciNotation(minor_thresholds=(math.inf, math.inf))
    )
    bar.minorticks_off()
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
