"""Figures, for light pages and for dark ones."""

import colorsys
import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from matplotlib import colors
from matplotlib.collections import Collection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

# Wider ones could not be read where they are shown 800 pixels wide.
WIDEST = 9.6
# What white and black are in the dark.
DARK = (0.043, 0.047, 0.059), (0.9, 0.9, 0.9)
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


def darken(figure: Any) -> None:
    """Turns black on white into white on black, and lightens colours."""
    # Cells keep their colours, and so do the numbers in them.
    kept: set[Any] = set()
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            kept |= {patch for patch in axes.get_children() if is_end(patch)}
        elif axes.images or any(
            isinstance(c, QuadMesh) for c in axes.collections
        ):
            kept |= set(axes.texts)
    for artist in figure.findobj(lambda each: each not in kept):
        if isinstance(artist, Text):
            artist.set_color(dark(artist.get_color()))
            artist.set_path_effects([])  # a white outline
        elif isinstance(artist, Line2D):
            face, edge = (
                artist.get_markerfacecolor(),
                artist.get_markeredgecolor(),
            )
            artist.set_color(dark(artist.get_color()))
            artist.set_markerfacecolor(dark(face))
            artist.set_markeredgecolor(dark(edge))
        elif isinstance(artist, Patch):
            face, edge = artist.get_facecolor(), artist.get_edgecolor()
            artist.set_facecolor(dark(face))
            artist.set_edgecolor(dark(edge))
        elif isinstance(artist, Collection) and artist.get_array() is None:
            artist.set_facecolor([dark(c) for c in artist.get_facecolor()])
            artist.set_edgecolor([dark(c) for c in artist.get_edgecolor()])
        elif has_few_colours(artist):
            shades = [dark(c) for c in artist.cmap.colors]
            artist.set_cmap(colors.ListedColormap(shades))


def has_few_colours(artist: Any) -> bool:
    """Whether its colours are kinds, and no scale."""
    cmap = getattr(artist, "cmap", None)
    return isinstance(cmap, colors.ListedColormap) and cmap.N < 10


def is_end(artist: Any) -> bool:
    """The triangle at the end of a colour bar."""
    return type(artist).__name__ == "PathPatch"


def dark(colour: Any) -> Any:
    """A grey turned over; another colour no darker than the middle."""
    if isinstance(colour, str) and colour in ("none", "auto"):
        return colour
    *rgb, alpha = colors.to_rgba(colour)
    if max(rgb) - min(rgb) < 0.05:
        white, black = DARK
        share = sum(rgb) / 3.0
        rgb = [
            share * w + (1.0 - share) * b
            for w, b in zip(white, black, strict=True)
        ]
        return *rgb, alpha
    hue, light, saturation = colorsys.rgb_to_hls(*rgb)
    if light < 0.6:
        light, saturation = 0.6, 0.75 * saturation
    return *colorsys.hls_to_rgb(hue, light, saturation), alpha
