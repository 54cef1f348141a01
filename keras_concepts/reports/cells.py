"""Cells of a table that fit themselves to the terminal."""

from collections.abc import Iterator

import numpy as np
from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text

from keras_concepts.reports.names import shorten

_SHORTEST_NAME = 10


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
