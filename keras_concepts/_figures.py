"""Figures that scripts and notebooks show, each only once."""

import contextlib
import functools
import io
import sys
import threading
from collections.abc import Iterator
from typing import Any

from keras_concepts._extras import missing

# Threads in which figures are hidden from pyplot.
_kept = threading.local()


def new_figure(width: float, height: float, shown: bool = True) -> Any:
    """A figure of `width` × `height` inches.

    `pyplot.show()` shows it, and so does a notebook at the end of the cell that
    made it, until it is closed.

    Args:
        width: Width in inches.
        height: Height in inches.
        shown: False for a figure that is only for a file or a page.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing("Figures", "matplotlib", "plot") from error
    options = {"figsize": (width, height), "dpi": 120, "layout": "constrained"}
    figure = _of_pyplot(options) if shown and not _is_kept() else None
    if figure is None:
        figure = Figure(**options)
        _ = FigureCanvasAgg(figure)
    # As long as pyplot is not imported, a notebook shows an unregistered figure
    # as text, unless it can turn itself into a PNG.
    vars(figure)["_repr_png_"] = functools.partial(_png, figure)
    vars(figure)["_ipython_display_"] = functools.partial(_display, figure)
    return figure


@contextlib.contextmanager
def kept_from_pyplot() -> Iterator[None]:
    """Figures created in the with-block are for a file or a page."""
    before, _kept.here = _is_kept(), True
    try:
        yield
    finally:
        _kept.here = before


def _is_kept() -> bool:
    return getattr(_kept, "here", False)


def _of_pyplot(options: dict[str, Any]) -> Any:
    """A figure that pyplot shows; `None` if it could not."""
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        from matplotlib import pyplot

        return pyplot.figure(**options)
    except ImportError:  # a backend that needs a display or a package
        return None


def _display(figure: Any) -> None:
    """Keeps a notebook from showing a figure twice.

    It is called for the last line of a cell, and at its end for all figures
    that pyplot knows. Which of them comes first, the other finds nothing.
    """
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and "inline" in pyplot.get_backend().lower():
        pyplot.close(figure)
    raise NotImplementedError  # IPython then shows it as usual


def _png(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
