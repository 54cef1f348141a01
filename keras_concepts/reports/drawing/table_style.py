"""Tables that fit the terminal."""

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np
from rich import box
from rich.bar import Bar
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.measure import Measurement, measure_renderables
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text

from keras_concepts.reports.drawing.blocks import ShownRows
from keras_concepts.reports.drawing.names import legible_width, shorten

BAD = "bold red"
SUSPECT = "bold yellow"
_SHORTEST_NAME = 10
_LEGIBLE_NAME = 32
_BETWEEN = 2  # characters between columns
_LINE_LENGTH = 80


class NameTable(Table):
    """A table whose first column holds names, such as those of layers.

    If its columns do not all fit, it leaves out some of them and names them,
    rather than cut names or numbers.

    Args:
        title: Title, of any length.
        names: One per row.
        columns: Header and cells of the other columns.
        about: Meaning of columns, by their headers; one sentence each.
        optional: Headers of columns that may be left out, in this order.
        first: Header of the first column.
        rows: The rows to show, by default all.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        columns: Mapping[str, Sequence[RenderableType]],
        about: Mapping[str, str],
        optional: Sequence[str] = (),
        first: str = "layer",
        rows: ShownRows | None = None,
    ) -> None:
        rows = rows or ShownRows(list(range(len(names))))
        super().__init__(
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            show_edge=False,
            title=Text(title, "bold"),
            caption=Text(_sentences(about, [first, *columns]), "italic dim"),
        )
        self.names = names
        self.note = rows.note
        self.about = about
        self.optional = optional
        self.add_column(first, vertical="bottom")
        for header in columns:
            self.add_column(
                header,
                justify="right" if header else "left",
                vertical="bottom",
                no_wrap=True,
            )
        for i in rows.places:
            self.add_row(
                Name(names, i), *(cells[i] for cells in columns.values())
            )

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        table, _ = self._fitted(console, options)
        return Measurement.get(console, options, table)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        table, left_out = self._fitted(console, options)
        width = Measurement.get(console, options, table).maximum
        width = min(max(width, _LINE_LENGTH), options.max_width)
        shown = table.columns if self.row_count else table.columns[:1]
        headers = [str(column.header) for column in shown]
        caption = Text(_sentences(self.about, headers), "italic dim")
        if left_out:
            names = ", ".join(_one_line(header) for header in left_out)
            _ = caption.append(f" Left out for lack of space: {names}.")
        if self.note:
            _ = caption.append(f" {self.note}" if caption else self.note)
        # Not as the table's caption, which would wrap at the table's width.
        yield Constrain(self.title or "", width)
        if self.row_count:
            yield table
        if caption:
            yield Constrain(caption, width)

    def _fitted(
        self, console: Console, options: ConsoleOptions
    ) -> tuple[Table, list[str]]:
        """As many columns as fit, and the headers of the others."""
        kept, left_out = list(self.columns), []
        names = legible_width(self.names, _SHORTEST_NAME, _LEGIBLE_NAME)
        for header in self.optional:
            if names + _width(console, options, kept[1:]) <= options.max_width:
                break
            fewer = [column for column in kept if column.header != header]
            # A missing bar needs no note.
            left_out += [header] if header and len(fewer) < len(kept) else []
            kept = fewer
        table = Table(
            box=self.box,
            padding=(0, 0, 0, 1),
            pad_edge=False,
            show_edge=False,
        )
        for column in kept:
            table.add_column(
                column.header,
                justify=column.justify,
                vertical=column.vertical,
                no_wrap=column.no_wrap,
            )
        for row in zip(*(column.cells for column in kept), strict=True):
            table.add_row(*row)
        return table, left_out


class Name:
    """A name that loses its middle rather than its end if it does not fit.

    Args:
        names: All names of the column, one line each.
        place: Index of this name.
    """

    def __init__(self, names: Sequence[str], place: int) -> None:
        self.names = names
        self.place = place

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        width = len(self.names[self.place])
        return Measurement(min(width, _SHORTEST_NAME), width)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[Text]:
        short = shorten(self.names, options.max_width)
        yield Text(short[self.place], no_wrap=True)


class LogBar(Bar):
    """A bar that is a block shorter for each factor of 10 below the largest.

    Args:
        value: What the bar shows; zero and non-finite values have no bar.
        largest: Value that fills the bar, above 0.
        blocks: Length of a full bar.
    """

    def __init__(self, value: float, largest: float, blocks: int = 9) -> None:
        length = 0.0
        if np.isfinite(value) and value > 0.0:
            length = max(0.0, blocks + float(np.log10(value / largest)))
        # A bar shows eighths of a block: the nearest.
        eighths = round(length * 8) / 8
        super().__init__(blocks, 0, eighths, width=blocks)
        self.style = Style(color="cyan")  # without a background

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        if options.ascii_only:
            yield Text("#" * round(self.end))
        else:
            yield from super().__rich_console__(console, options)


def size_cell(value: float) -> Text:
    """A size of any order of magnitude, exactly zero or not finite."""
    if np.isfinite(value):
        return Text(f"{value:.1e}") if value else Text("0", "yellow")
    return Text(f"{value:g}", BAD)


def count_cell(count: float, of: float) -> Text:
    """The number of units of a layer that are dead or saturated."""
    return Text(f"{count:g}/{of:g}", SUSPECT if count else "dim")


def _width(
    console: Console, options: ConsoleOptions, columns: Sequence[Column]
) -> int:
    """The width that columns need besides a column of names."""
    wide = options.update(max_width=1000)
    widths = [
        measure_renderables(console, wide, [column.header, *column.cells])
        for column in columns
    ]
    return sum(_BETWEEN + measured.maximum for measured in widths)


def _sentences(about: Mapping[str, str], headers: Collection[str]) -> str:
    return " ".join(text for header, text in about.items() if header in headers)


def _one_line(header: str) -> str:
    return header.replace("-\n", "").replace("\n", " ").replace(" /", "/")


def stacked(label: str) -> str:
    """A label as a narrow header: broken into two lines of similar length."""
    words = label.split(" ")
    breaks = (
        f"{' '.join(words[:i])}\n{' '.join(words[i:])}"
        for i in range(1, len(words))
    )
    return min(
        breaks,
        key=lambda lines: max(map(len, lines.split("\n"))),
        default=label,
    )
