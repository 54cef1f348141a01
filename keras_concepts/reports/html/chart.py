"""A chart of a page, with its caption, legend and numbers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.svg import COLOURS, WIDTH, svg_of

# Rows of the table of numbers below a chart.
MOST_ROWS = 24
TOP, BOTTOM, RIGHT = 24.0, 36.0, 12.0  # points around the axes
# Minimum span of the vertical axis, as a share of the values.
_LEAST_SPAN = 0.01
CHARACTER = 6.4  # width in points, in a tick label


@dataclasses.dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        label: Text of the entry.
        colour: Name of a variable in the page's style.
        shape: `"line"`, `"dashed"`, `"dotted"`, `"area"` or, for a transparent
            area, `"shade"`.
    """

    label: str
    colour: str
    shape: str


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A table.

    Attributes:
        header: Name of each column.
        rows: Cells as text; the first one names the row.
        note: Text on what is left out.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart, also in words and numbers.

    Attributes:
        name: Its identifier in the page.
        title: Short title.
        caption: What the chart shows, in a sentence or two.
        svg: The picture, as an element.
        legend: Meaning of its colours.
        numbers: Its contents as a table.
    """

    name: str
    title: str
    caption: str
    svg: str
    legend: Sequence[Key] = ()
    numbers: Numbers | None = None

    def with_legend(self, legend: Sequence[Key]) -> "Chart":
        """The same with another legend."""
        return dataclasses.replace(self, legend=legend)


def chart_of(
    figure: Any,
    name: str,
    title: str,
    caption: str,
    entries: Mapping[str, Any] | None = None,
    numbers: Numbers | None = None,
) -> Chart:
    """A chart that shows a figure.

    Args:
        figure: From `new_figure`.
        name: See `Chart`.
        title: See `Chart`.
        caption: See `Chart`.
        entries: Lines and patches by label, for the legend.
        numbers: See `Chart`.
    """
    legend = [key_of(*entry) for entry in (entries or {}).items()]
    svg = svg_of(figure, name, title, caption)
    return Chart(name, title, caption, svg, legend, numbers)


def key_of(label: str, artist: Any) -> Key:
    """The entry of a legend for a line or patch."""
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D

    label = printable(label)
    if not isinstance(artist, Line2D):
        face = artist.get_facecolor()
        shape = "area" if face[3] > 0.5 else "shade"
        return Key(label, COLOURS.get(to_hex(face), "muted"), shape)
    shapes = {"--": "dashed", ":": "dotted"}
    shape = shapes.get(str(artist.get_linestyle()), "line")
    return Key(label, COLOURS.get(to_hex(artist.get_color()), "muted"), shape)


def place_axes(figure: Any, axes: Any) -> None:
    """Places the single axes so that their labels fit.

    Args:
        figure: From `new_figure`.
        axes: Axes with everything drawn, and their limits.
    """
    from matplotlib.ticker import LogLocator

    height = figure.get_figheight() * 72.0
    if axes.get_yscale() == "log":
        axes.yaxis.set_major_formatter(power_label)
        axes.yaxis.set_minor_formatter("")
        axes.yaxis.set_major_locator(LogLocator(numticks=6))
    elif axes.get_yscale() == "linear":
        _widen(axes)
        axes.yaxis.get_major_locator().set_params(nbins=5)
        _say_factor(axes)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    left = 16.0 + CHARACTER * max(map(len, labels), default=0)
    axes.set_position(
        (
            left / WIDTH,
            BOTTOM / height,
            1.0 - (left + RIGHT) / WIDTH,
            1.0 - (TOP + BOTTOM) / height,
        )
    )


def _widen(axes: Any) -> None:
    """Widens the axis so that a nearly constant curve looks constant."""
    low, high = axes.get_ylim()
    middle = (low + high) / 2.0
    least = _LEAST_SPAN * abs(middle)
    if high - low < least:
        axes.set_ylim(middle - least / 2.0, middle + least / 2.0)


def _say_factor(axes: Any) -> None:
    """Puts the common power of ten of all ticks into the label above."""
    formatter, ticks = axes.yaxis.get_major_formatter(), axes.yaxis
    if not hasattr(formatter, "set_useOffset"):  # with fixed labels
        return
    formatter.set_useOffset(False)
    formatter.set_locs(ticks.get_majorticklocs())
    factor = formatter.get_offset()
    if factor:
        ticks.get_offset_text().set_visible(False)
        label = axes.get_title(loc="left")
        axes.set_title(f"{label} / {power_label(float(factor))}", loc="left")


def label_above(axes: Any, text: str) -> None:
    """The label of the vertical axis, readable without turning."""
    from keras_concepts.reports.drawing.figure_style import TICK_SIZE

    axes.set_ylabel("")
    axes.xaxis.label.set_size(TICK_SIZE)
    axes.set_title(
        printable(text), loc="left", size=TICK_SIZE, color="0.35", pad=7
    )


def power_label(value: float, position: Any = None) -> str:
    """`0.01`, or for numbers far from 1 `10⁻³` or `2·10⁻³`."""
    del position
    if not value > 0.0:
        return "0"
    power = int(np.floor(np.log10(value) + 1e-9))
    if -3 < power < 4:
        return f"{float(f'{value:.3g}'):g}"
    first = round(value / 10.0**power, 2)
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    times = "" if first == 1.0 else f"{first:g}·"
    return f"{times}10{str(power).translate(digits)}"


def shown(value: float) -> str:
    """A number in a table: three digits, or the name of a non-finite one."""
    if np.isnan(value):
        return "NaN"
    if np.isinf(value):
        return "infinite" if value > 0 else "−infinite"
    size = abs(value)
    whole = size < 1e6 and value == int(value)
    text = f"{size:,.0f}" if whole or 1e3 <= size < 1e6 else f"{size:.3g}"
    text = re.sub(r"e([-+])0?", lambda m: "e-" if m[1] == "-" else "e", text)
    return f"−{text}" if value < 0 else text


def percent(share: float) -> str:
    """A share in percent, with a non-breaking space."""
    return f"{100.0 * share:.0f}\u00a0%"


def thinned(count: int, most: int = MOST_ROWS) -> list[int]:
    """At most this many evenly spaced indices of a list, with both ends."""
    if count <= most:
        return list(range(count))
    places = np.linspace(0, count - 1, most).round().astype(int)
    return sorted({int(place) for place in places})
