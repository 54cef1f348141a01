"""What is needed to show the recording of a concept."""

import base64
import dataclasses
import importlib
import importlib.util
import io
import os
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities
from keras_concepts._figures import kept_from_pyplot
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import MAX_ROWS
from keras_concepts.reports.drawing.dark import darken
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.selection import rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HTML_WIDTH = 100
_PRE = "<pre style=\"font-family: 'DejaVu Sans Mono', monospace\">{code}</pre>"

# How JupyterLab, Visual Studio Code, Colab and pages of documentation say that
# they are dark. What the system prefers says nothing about a notebook.
_IN_THE_DARK = (
    ":is(body[data-jp-theme-light=false],body.vscode-dark,"
    "body.vscode-high-contrast:not(.vscode-high-contrast-light),"
    "html[theme=dark],[data-theme=dark])"
)


class DrawFigure(Protocol):
    """Draws what was recorded; see `Report`."""

    def __call__(
        self, recording: Recording, title: str | None = None
    ) -> "Figure":
        """Draws a recording.

        Args:
            recording: With rows of any monitor.
            title: Title; by default what the figure shows.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Report:
    """How the recording of one kind of monitor is shown.

    Attributes:
        empty: Sentence to show if nothing was recorded.
        table: Makes a table of the last epoch of a recording's last run,
            without columns if nothing was recorded. May take `max_rows`.
        figure: Draws all epochs of all runs as a `matplotlib.figure.Figure`.
            Raises `ImportError` if matplotlib is not installed.
    """

    empty: str
    table: Callable[..., Table]
    figure: DrawFigure

    def print(
        self,
        recording: Recording,
        console: Console | None = None,
        *,
        max_rows: int | None = MAX_ROWS,
    ) -> None:
        """Prints the table, or one sentence if nothing was recorded.

        Args:
            recording: With rows of any monitor.
            console: Where to print, by default standard output.
            max_rows: Maximum number of rows of the table; `None` for all.
        """
        # A user's table function need not take `max_rows`.
        options = {} if max_rows == MAX_ROWS else {"max_rows": max_rows}
        print_table(self.table(recording, **options), self.empty, console)

    def plot(
        self,
        recording: Recording,
        path: str | os.PathLike[str] | None = None,
    ) -> "Figure":
        """Draws the figure to show it, or writes it to a file.

        Args:
            recording: With rows of any monitor.
            path: Image file to write instead of showing the figure.
        """
        if path is None:
            return self.figure(recording)
        with kept_from_pyplot():
            figure = self.figure(recording)
        figure.savefig(path)
        return figure

    def html(self, recording: Recording) -> str:
        """The table as HTML, and below it the figure as an image.

        Without matplotlib, only the table.

        Args:
            recording: With rows of any monitor.
        """
        text = self._text_html(recording)
        if not text:
            return f"<p>{escape(self.empty)}</p>"
        if importlib.util.find_spec("matplotlib") is None:
            return text
        with kept_from_pyplot():
            return text + figure_html(self.figure(recording))

    def _text_html(self, recording: Recording) -> str:
        """The table, `""` if nothing was recorded."""
        table = self.table(recording)
        return table_html(table) if table.columns else ""

    def of(self, monitor: str) -> "Report":
        """The same report for one monitor, by its name in a recording."""

        def figure(recording: Recording, title: str | None = None) -> "Figure":
            return self.figure(recording.select(monitor=monitor), title)

        return dataclasses.replace(
            self,
            table=lambda rows, **options: self.table(
                rows.select(monitor=monitor), **options
            ),
            figure=figure,
        )


def report_of(monitor: str) -> Report:
    """The report of a monitor.

    A new concept needs no entry here: its report is `REPORT` in
    `keras_concepts.reports.<name of the concept>`.

    Args:
        monitor: Name of the monitor in the rows. `GradientMonitor` means the
            first of its kind in a recording, `GradientMonitor (2)` only the
            second.

    Raises:
        ValueError: No monitor of `keras_concepts.callbacks` has this name.
    """
    concept = quantities.concept_of(monitor)
    if concept is None or concept.monitor == quantities.FIT:
        known = [c.monitor for c in quantities.CONCEPTS]
        raise ValueError(
            "`monitor` of `report_of` must be one of "
            f"{[name for name in known if name != quantities.FIT]}, or the "
            f"second of a kind ('{known[-1]} (2)'). "
            f"Received: monitor={monitor!r}."
        )
    room = importlib.import_module(f"keras_concepts.reports.{concept.name}")
    report: Report = room.REPORT
    return report if monitor == concept.monitor else report.of(monitor)


def print_recording(
    recording: Recording, console: Console | None = None
) -> None:
    """Prints the table of every monitor in a recording.

    If a recording has only rows of unknown monitors, they are shown by the
    concepts whose quantities they hold. Monitors without a report are named.

    Args:
        recording: Recording, for example a loaded one.
        console: Where to print, by default standard output.
    """
    console = console or Console()
    monitors, unreported = _shown_monitors(recording)
    if not monitors and not unreported:
        console.print("Nothing has been recorded yet.")
    for monitor in monitors:
        if len(monitors) > 1:
            console.print(Rule(Text(printable(monitor)), align="left"))
        report_of(monitor).print(recording, console)
        print_missed(recording, monitor, console)
    if unreported:
        console.print(
            f"No report is available for: {', '.join(unreported)}.",
            highlight=False,
            markup=False,
        )


def print_missed(
    recording: Recording, monitor: str, console: Console | None = None
) -> None:
    """Prints what a monitor could not measure, if there is any.

    Args:
        recording: With the facts of the run.
        monitor: Name of the monitor in the rows.
        console: Where to print, by default standard output.
    """
    for sentence in recording.facts.get(quantities.MISSED_BY + monitor, []):
        (console or Console()).print(Text(printable(str(sentence))))


def plot_recording(recording: Recording) -> "dict[str, Figure]":
    """Draws the figure of every monitor in a recording.

    Args:
        recording: Recording, for example a loaded one.

    Returns:
        One figure per monitor, by its name in the recording; for rows of
        unknown monitors, by the name of the monitor that records such rows.

    Raises:
        ImportError: matplotlib is not installed.
    """
    return {
        monitor: report_of(monitor).figure(recording)
        for monitor in _shown_monitors(recording)[0]
    }


def print_table(
    table: Table, empty: str, console: Console | None = None
) -> None:
    """Prints a table, or a sentence if it has no columns."""
    console = console or Console()
    console.print(table if table.columns else Text(empty))


def table_html(table: RenderableType) -> str:
    """A table with its colours, as a `<pre>` element."""
    console = Console(
        record=True,
        width=_HTML_WIDTH,
        file=io.StringIO(),
        force_jupyter=False,
        legacy_windows=False,
    )
    console.print(table)
    return console.export_html(inline_styles=True, code_format=_PRE)


def figure_html(figure: "Figure") -> str:
    """A figure as an `<img>` element that holds a PNG.

    In a notebook with a dark theme, another one takes its place. Where styles
    are left out, as on GitHub, it is the light one.

    Args:
        figure: Drawn for this page only: it is dark afterwards.
    """
    text = escape(figure.get_suptitle(), quote=True)
    light = _png_url(figure)
    darken(figure)
    return (
        f"<style>{_IN_THE_DARK} .kc-figure{{content:var(--kc-dark)}}</style>"
        f'<img alt="{text}" style="max-width: 100%; height: auto; '
        f'--kc-dark: url({_png_url(figure)})" class="kc-figure" src="{light}">'
    )


def _png_url(figure: "Figure") -> str:
    """A PNG of 256 colours, which is less than half as large."""
    from PIL import Image  # which matplotlib brings

    file, small = io.BytesIO(), io.BytesIO()
    figure.savefig(file, format="png")
    Image.open(file).convert("RGB").quantize(256).save(small, "PNG")
    data = base64.b64encode(small.getvalue()).decode()
    return f"data:image/png;base64,{data}"


def _shown_monitors(recording: Recording) -> tuple[list[str], list[str]]:
    """Monitors without a report, for `report_of` and as named in sentences."""
    names = dict.fromkeys(series.monitor for series in recording)
    known = [n for n in names if quantities.concept_of(n) is not None]
    unknown = [name for name in names if name not in known]
    shown = [name for name in known if name != quantities.FIT]
    if unknown and not shown:
        shown = [
            concept.monitor
            for concept in quantities.CONCEPTS
            if concept.monitor != quantities.FIT
            and set(recording.quantities).intersection(concept.quantities)
            and report_of(concept.monitor).table(recording).columns
        ]
        reported = {
            series.monitor
            for monitor in shown
            for series in rows_of(recording, monitor)
        }
        unknown = [name for name in unknown if name not in reported]
    return shown, [
        f"`{printable(name)}`" if name else "rows without a monitor"
        for name in unknown
    ]
