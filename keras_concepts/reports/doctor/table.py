"""The findings of a run as text in the terminal."""

from collections.abc import Sequence

from rich.console import (
    Console,
    ConsoleOptions,
    Group,
    RenderableType,
    RenderResult,
)
from rich.constrain import Constrain
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table
from rich.text import Text

from keras_concepts._documentation import page_link, page_url
from keras_concepts._validation import check_positive_int
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.verdict import (
    EMPTY,
    Problem,
    Verdict,
    began,
    measured,
    noticed,
    place,
    verdict_of,
    verdict_on,
)
from keras_concepts.reports.drawing.blocks import MAX_ROWS
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.drawing.table_style import BAD, SUSPECT
from keras_concepts.reports.report import print_table
from keras_concepts.rules import Finding

_LINE_LENGTH = 100
_STYLES = {"error": BAD, "warning": SUSPECT, "info": "bold cyan"}
_NAMES = {"error": "Error", "warning": "Warning", "info": "Note"}


def print_doctor(
    recording: Recording,
    console: Console | None = None,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `doctor_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
        console: Where to print, by default standard output.
        max_rows: See `doctor_table`.
    """
    print_table(doctor_table(recording, max_rows=max_rows), EMPTY, console)


def doctor_table(
    recording: Recording, *, max_rows: int | None = MAX_ROWS
) -> Table:
    """The problems of the last run, each with its cause and consequences.

    For each problem the cause: what, where, since when, why it matters, the
    measured numbers, and what to change; below it, one line per consequence. At
    the end, findings that no longer hold, and what could not be checked.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
        max_rows: Maximum number of problems, the worst ones; `None` for all.

    Returns:
        A table without columns if nothing was recorded.
    """
    found = verdict_on(recording)
    if found is None:
        return Table(title=Text(EMPTY))
    return VerdictTable(found[0], max_rows)


def print_findings(
    findings: Sequence[Finding], console: Console | None = None
) -> None:
    """Prints `findings_table`.

    Args:
        findings: As returned by `preflight` and `diagnose`.
        console: Where to print, by default standard output.
    """
    (console or Console()).print(findings_table(findings))


def findings_table(findings: Sequence[Finding]) -> Table:
    """Findings as problems, in the form of `doctor_table`.

    Args:
        findings: As returned by `preflight` and `diagnose`: causes first, each
            followed by what it explains.
    """
    return VerdictTable(verdict_of(findings))


class VerdictTable(Table):
    """A verdict that fits the terminal; no sentence is cut.

    Args:
        verdict: What was found.
        max_rows: Maximum number of problems; `None` for all.
    """

    def __init__(
        self, verdict: Verdict, max_rows: int | None = MAX_ROWS
    ) -> None:
        super().__init__(title=Text(verdict.headline, "bold"))
        if max_rows is not None:
            check_positive_int("summary", "max_rows", max_rows)
        self.verdict = verdict
        self.shown = verdict.problems[:max_rows]
        self.add_column("problem")
        for problem in self.shown:
            self.add_row(Text(place(problem.cause)))

    def __rich_measure__(
        self, console: Console, options: ConsoleOptions
    ) -> Measurement:
        width = min(options.max_width, _LINE_LENGTH)
        return Measurement(min(width, 40), width)

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        width = min(options.max_width, _LINE_LENGTH)
        parts: list[RenderableType] = [self.title or ""]
        for number, problem in enumerate(self.shown, start=1):
            parts += ["", _problem(number, problem)]
        left_out = len(self.verdict.problems) - len(self.shown)
        notes = self.verdict.notes
        if left_out:
            notes.insert(
                0,
                f"{left_out} of {len(self.verdict.problems)} problems are left "
                "out. Pass max_rows=None to see all.",
            )
        parts += [""] if self.shown and notes else []
        parts += [Text(note, "italic dim") for note in notes]
        yield Constrain(Group(*parts), width)


def _problem(number: int, problem: Problem) -> Table:
    cause = problem.cause
    lines = Table.grid(padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True, style="dim")
    lines.add_column(overflow="fold")
    for label, text, look in (
        ("Why", cause.why, ""),
        ("Measured", measured(cause), ""),
        ("Change", cause.advice, "bold"),
        ("", cause.code, "green"),
    ):
        if text:
            lines.add_row(label, Text(printable(text), look))
    for i, effect in enumerate(problem.effects):
        lines.add_row("" if i else "Leads to", _effect(effect))
    title = Text.assemble(
        (f"{_NAMES[cause.severity]}: {place(cause)}", _STYLES[cause.severity]),
        f", {began(cause)}{noticed(cause)}",
    )
    numbered = Table.grid(padding=(0, 1, 0, 0))
    numbered.add_column()
    numbered.add_column(overflow="fold")
    parts = [title, lines]
    if cause.page:
        # Below the columns, where 80 characters hold almost every address.
        parts.append(_page(cause.page))
    numbered.add_row(f"{number}.", Group(*parts))
    return numbered


def _effect(finding: Finding) -> Text:
    """A consequence in one line."""
    numbers = measured(finding, most=1)
    return Text.assemble(
        (place(finding), _STYLES[finding.severity]),
        f", {began(finding)}",
        f": {numbers}" if numbers else "",
        style="" if finding.resolved is None else "dim",
    )


def _page(page: str) -> Text:
    """Address of a page, which a terminal can open although it is folded."""
    look = Style(dim=True, link=printable(page_link(page)) or None)
    return Text(printable(page_url(page)), look, overflow="fold")
