"""A colour bar in powers of ten."""

from typing import Any

import numpy as np

from keras_concepts.reports.heatmap import LABEL_SIZE, TICK_SIZE


def draw_colour_bar(
    figure: Any, image: Any, axes: Any, zeros: bool, **layout: Any
) -> None:
    """A colour bar in powers of ten; exact zeros have a colour of their own."""
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
    ticks = _powers(low + (high - low) / 20.0 if zeros else low, high)
    bar.set_ticks([*ticks], labels=[*ticks.values()])
    bar.set_label("RMS gradient", size=LABEL_SIZE)
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


def _powers(low: float, high: float) -> dict[float, str]:
    """Ticks of a log10 axis: powers of ten; if it is short, 2 and 5 of each."""
    powers = np.arange(np.floor(low), high + 1e-9)
    every = -(-len(powers) // 8)
    ticks = {p: f"$10^{{{p:.0f}}}$" for p in powers if not p % every}
    if high - low < 2.0:
        for power in powers:
            for digit in (2, 5):
                label = rf"${digit}\times10^{{{power:.0f}}}$"
                ticks[power + np.log10(digit)] = label
    return {t: ticks[t] for t in sorted(ticks) if low <= t <= high}
