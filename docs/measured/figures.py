"""Figures, for light pages and for dark ones."""

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from matplotlib.figure import Figure

from keras_concepts.reports.drawing.dark import darken

# Wider ones could not be read where they are shown 800 pixels wide.
WIDEST = 9.6
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
STYLE = {
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.5,
    "legend.frameon": False,
}


def save(figure: Any, stem: pathlib.Path, **options: Any) -> None:
    """Saves `stem_light.png` and `stem_dark.png`."""
    figure.savefig(stem.with_name(f"{stem.name}_light.png"), **options)
    darken(figure)
    figure.savefig(stem.with_name(f"{stem.name}_dark.png"), **options)


@contextlib.contextmanager
def saved_twice() -> Iterator[None]:
    """Whatever saves a figure in it as PNG, saves it for dark pages, too."""
    plain = Figure.savefig

    def savefig(figure: Any, place: Any, *more: Any, **options: Any) -> None:
        if not isinstance(place, str | os.PathLike):
            plain(figure, place, *more, **options)
            return
        Figure.savefig = plain
        try:
            figure.set_figwidth(min(figure.get_figwidth(), WIDEST))
            save(figure, pathlib.Path(place).with_suffix(""), **options)
        finally:
            Figure.savefig = savefig

    Figure.savefig = savefig
    try:
        yield
    finally:
        Figure.savefig = plain
