"""A training run as one self-contained page."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras_concepts._extras import missing
from keras_concepts._validation import check_positive_int
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.verdict import EMPTY, Verdict, verdict_on
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.chart import Chart
from keras_concepts.reports.html.losses import loss_chart
from keras_concepts.reports.html.problems import shown_problems
from keras_concepts.reports.html.svg import drawing
from keras_concepts.rules import Judge

TITLE = "Training report"


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        name: Its identifier in the page.
        title: Of the part.
        charts: In their order.
        sentences: What stands above them.
    """

    name: str
    title: str
    charts: Sequence[Chart]
    sentences: Sequence[str] = ()


def write_report(
    recording: Recording,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    refresh: int | None = None,
    judge: Judge | None = None,
) -> None:
    """Writes a training run as one HTML file that needs nothing else.

    The file is complete at all times: what stood there before is replaced in
    one step.

    Args:
        recording: What a `TrainingDoctor`, or any monitor, recorded.
        path: File to write.
        title: Of the page; by default the name of the model.
        refresh: Seconds after which a browser reads the file again, while the
            training goes on; `None` for never.
        judge: Who has judged the last run; by default it is judged again.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: `refresh` is below 1.
    """
    page = report_html(recording, title=title, refresh=refresh, judge=judge)
    write_page(page, path)


def report_html(
    recording: Recording,
    *,
    title: str | None = None,
    refresh: int | None = None,
    judge: Judge | None = None,
) -> str:
    """A training run as a page; see `write_report`.

    On top the verdict, then each problem with its evidence, then the run. Of
    several runs in a recording, the last is judged.

    Args:
        recording: What a `TrainingDoctor`, or any monitor, recorded.
        title: See `write_report`.
        refresh: See `write_report`.
        judge: See `write_report`.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        ValueError: `refresh` is below 1.
    """
    if refresh is not None:
        check_positive_int("write_report", "refresh", refresh)
    template = template_of("report.html")
    found = verdict_on(recording, judge)
    if found is None:
        return template.render(
            title=printable(title or TITLE), verdict=EMPTY, refresh=refresh
        )
    verdict, training = found
    epochs = Epochs.of(training)
    with drawing():
        return template.render(
            title=printable(title or training.facts.get("model") or TITLE),
            verdict=sentence_of(verdict),
            refresh=refresh,
            problems=shown_problems(verdict, training, epochs),
            sections=[
                Section(
                    "loss",
                    "Loss",
                    [c for c in [loss_chart(training, epochs)] if c],
                )
            ],
            notes=verdict.notes,
        )


def sentence_of(verdict: Verdict) -> str:
    """How many problems there are, and which to look at first."""
    return verdict.headline


def template_of(name: str) -> Any:
    """A template of this room.

    Raises:
        ImportError: jinja2 is not installed.
    """
    try:
        import jinja2
    except ImportError as error:
        raise missing("HTML reports", "jinja2", "report") from error
    environment = jinja2.Environment(
        autoescape=True,
        loader=jinja2.FileSystemLoader(
            pathlib.Path(__file__).parent / "templates"
        ),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.ChainableUndefined,
    )
    return environment.get_template(name)


def write_page(page: str, path: str | os.PathLike[str]) -> None:
    """Replaces a file by a page, all at once.

    Args:
        page: HTML.
        path: File to write.

    Raises:
        OSError: The file cannot be written.
    """
    path = pathlib.Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _ = part.write_text(page, encoding="utf-8", newline="\n")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
