"""Figures that scripts and notebooks can both show."""

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

TITLE_SIZE = 14
LABEL_SIZE = 12
TICK_SIZE = 10.5


def new_figure(width: float, height: float) -> Any:
    """A figure of `width` × `height` inches that pyplot does not know.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            'Figures need matplotlib: pip install "keras-concepts[plot]"'
        ) from error
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    _ = FigureCanvasAgg(figure)
    # A figure of pyplot's would stay in memory until it is closed, and a
    # notebook would show it twice. A figure of one's own it shows as text as
    # long as nobody has imported pyplot, unless it knows how to become a PNG.
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)
    return figure


def empty_figure(sentence: str) -> Any:
    """A figure with a sentence where there is nothing to draw."""
    figure = new_figure(8.0, 2.0)
    figure.suptitle(sentence)
    return figure


def add_legend(figure: Any, entries: Sequence[Any]) -> None:
    """A legend below everything, in as few lines as there is room for."""
    if not entries:
        return
    characters = [len(entry.get_label()) + 8 for entry in entries]
    room = 10.0 * figure.get_figwidth()
    columns = range(len(entries), 1, -1)
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=next((n for n in columns if _width(characters, n) < room), 1),
        frameon=False,
        fontsize=LABEL_SIZE,
    )


def _width(characters: Sequence[int], columns: int) -> int:
    """Of so many columns, which a legend fills one after the other."""
    parts = np.array_split(characters, columns)
    return sum(int(part.max()) for part in parts)


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
