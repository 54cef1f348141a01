"""Cells of a table that fit themselves to the terminal."""

from collections.abc import Iterator

import numpy as np
from rich import box
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from keras_concepts.reports.drawing.names import shorten

_SHORTEST_NAME = 10


def new_table(title: Text, caption: Text) -> Table:
    """A table with a column for the layer."""
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
        pad_edge=False,
        show_edge=False,
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
    )
    table.add_column("layer", vertical="bottom")
    return table


def size_cell(value: float) -> Text:
    """A size that may be of any order, exactly zero, or not finite."""
    if np.isfinite(value):
        return Text(f"{value:.1e}") if value else Text("0", "yellow")
    return Text(f"{value:g}", "bold red")


class Name:
    """A name that loses its middle, not its end, where there is no room.

    Args:
        name: Text of one line.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        width = len(self.name)
        return Measurement(min(width, _SHORTEST_NAME), width)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Text]:
        yield Text(shorten(self.name, options.max_width), no_wrap=True)


class LogBar:
    """A bar that is a block shorter for each factor of 10 below the largest.

    Args:
        value: What the bar shows; zero and non-finite values have no bar.
        largest: Value that fills the bar, above 0.
        blocks: Length of a full bar.
    """

    def __init__(self, value: float, largest: float, blocks: int = 9) -> None:
        self.blocks = blocks
        self.length = 0.0
        if np.isfinite(value) and value > 0.0:
            self.length = max(0.0, blocks + float(np.log10(value / largest)))

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        return Measurement(self.blocks, self.blocks)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Text]:
        if options.ascii_only:
            yield Text("#" * round(self.length))
            return
        whole, eighths = divmod(round(self.length * 8), 8)
        yield Text("█" * whole + " ▏▎▍▌▋▊▉"[eighths].strip(), "cyan")
