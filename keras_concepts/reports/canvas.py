"""Figures that scripts and notebooks can both show."""

import functools
import io
from typing import Any


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


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
