"""A colour bar of a logarithmic scale."""

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
    """A colour bar in powers of ten; exact zeros have a colour of their own.

    Args:
        figure: To draw into.
        image: What `draw_cells` returned.
        axes: Axes or list of axes that it belongs to.
        label: What the colours are.
        zeros: Whether exact zeros are shown.
        layout: For `Figure.colorbar`.
    """
    from matplotlib.ticker import LogFormatterSciNotation

    bar = figure.colorbar(
        image,
        ax=axes,
        extend="min" if zeros else "neither",
        extendfrac=0.06,
        pad=0.015,
        **layout,
    )
    # Short scales have more labels than the powers of ten.
    bar.ax.yaxis.set_minor_formatter(
        LogFormatterSciNotation(minor_thresholds=(2.0, 0.8))
    )
    bar.set_label(label, size=LABEL_SIZE)
    bar.ax.tick_params(labelsize=TICK_SIZE, which="both")
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
