"""Figures for dark pages."""

import colorsys
from typing import Any

# Colours that replace white and black.
DARK = (0.043, 0.047, 0.059), (0.9, 0.9, 0.9)


def darken(figure: Any) -> None:
    """Turns black on white into white on black, and lightens colours.

    Args:
        figure: Figure of matplotlib, which is changed.
    """
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text

    kept = _in_cells(figure)
    for artist in figure.findobj(lambda each: each not in kept):
        if isinstance(artist, Text):
            artist.set_color(_dark(artist.get_color()))
            artist.set_path_effects([])  # a white outline
        elif isinstance(artist, Line2D):
            _darken_line(artist)
        elif isinstance(artist, Patch):
            face, edge = artist.get_facecolor(), artist.get_edgecolor()
            artist.set_facecolor(_dark(face))
            artist.set_edgecolor(_dark(edge))
        elif isinstance(artist, Collection) and artist.get_array() is None:
            artist.set_facecolor([_dark(c) for c in artist.get_facecolor()])
            artist.set_edgecolor([_dark(c) for c in artist.get_edgecolor()])
        else:
            _darken_kinds(artist)


def _in_cells(figure: Any) -> set[Any]:
    """Numbers in coloured cells, which keep their colours, as the cells do."""
    from matplotlib.collections import QuadMesh

    kept: set[Any] = set()
    for axes in figure.axes:
        if axes.get_label() == "<colorbar>":
            # The triangles at its ends.
            kept |= {
                each
                for each in axes.get_children()
                if type(each).__name__ == "PathPatch"
            }
        elif axes.images or any(
            isinstance(c, QuadMesh) for c in axes.collections
        ):
            kept |= set(axes.texts)
    return kept


def _darken_line(line: Any) -> None:
    face, edge = line.get_markerfacecolor(), line.get_markeredgecolor()
    line.set_color(_dark(line.get_color()))
    line.set_markerfacecolor(_dark(face))
    line.set_markeredgecolor(_dark(edge))


def _darken_kinds(artist: Any) -> None:
    """Lightens a colour map of a few colours, one for each kind."""
    from matplotlib.colors import ListedColormap

    cmap = getattr(artist, "cmap", None)
    if isinstance(cmap, ListedColormap) and cmap.N < 10:
        shades: Any = cmap.colors
        artist.set_cmap(ListedColormap([_dark(c) for c in shades]))


def _dark(colour: Any) -> Any:
    """An inverted grey; any other colour not too dark."""
    from matplotlib.colors import to_rgba

    if isinstance(colour, str) and colour in ("none", "auto"):
        return colour
    *rgb, alpha = to_rgba(colour)
    if not alpha:  # and an artist may have an alpha of its own
        return "none"
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
