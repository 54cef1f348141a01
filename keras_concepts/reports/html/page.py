"""A training run as one self-contained page."""

import os
import pathlib
from typing import Any

from keras_concepts._extras import missing
from keras_concepts._validation import check_positive_int
from keras_concepts._whole_file import replace_file
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.verdict import (
    EMPTY,
    Verdict,
    verdict_on,
    withdrawn,
)
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.chart import percent
from keras_concepts.reports.html.facts import fact_tables, runs_of
from keras_concepts.reports.html.layers import layer_table
from keras_concepts.reports.html.problems import rule_in_words, shown_problems
from keras_concepts.reports.html.sections import sections_of
from keras_concepts.reports.html.svg import drawing
from keras_concepts.rules import Judge, Training
from keras_concepts.rules.harm import constant_loss, skill

TITLE = "Training report"
_SPACES = "\n\u00a0"


def write_report(
    recording: Recording,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    refresh: int | None = None,
    judge: Judge | None = None,
) -> None:
    """Writes a training run as one self-contained HTML file.

    The file is complete at all times: an existing file is replaced in one step.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
        path: File to write.
        title: Title of the page; by default the name of the model.
        refresh: Seconds after which a browser reloads the file during training;
            `None` for never.
        judge: Judge of the last run; by default it is judged again.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: `refresh` is below 1.
    """
    page = report_html(recording, title=title, refresh=refresh, judge=judge)
    replace_file(path, page)


def report_html(
    recording: Recording,
    *,
    title: str | None = None,
    refresh: int | None = None,
    judge: Judge | None = None,
) -> str:
    """A training run as a page; see `write_report`.

    On top the verdict, then each problem with its evidence, then the run. If a
    recording has several runs, the last one is judged.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
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
    with drawing():
        return template.render(
            refresh=refresh, **_parts(recording, *found, title=title)
        )


def _parts(
    recording: Recording, verdict: Verdict, t: Training, title: str | None
) -> dict[str, Any]:
    """The variables of the template."""
    epochs = Epochs.of(t)
    return {
        "title": printable(title or t.facts.get("model") or TITLE),
        "verdict": sentence_of(verdict),
        "worst": verdict.problems[0].severity if verdict.problems else "fine",
        "remarks": _remarks(recording, verdict, t),
        "problems": shown_problems(verdict, t, epochs),
        "withdrawn": [withdrawn(finding) for finding in verdict.withdrawn],
        "sections": sections_of(t, epochs),
        "layers": layer_table(t, verdict),
        "facts": fact_tables(t),
        "checked": [*dict.fromkeys(verdict.checked)],
        "unchecked": [printable(each) for each in verdict.unchecked],
        "unknown": [printable(each) for each in verdict.unknown],
    }


def sentence_of(verdict: Verdict) -> str:
    """The number of problems, and the first one to look at."""
    headline = verdict.headline
    if not verdict.problems:
        return headline
    cause = verdict.problems[0].cause
    rule = rule_in_words(cause)
    what = f"{rule[:1].lower()}{rule[1:]}"
    if cause.owner:
        what += f" in {printable(cause.owner)}"
    first = ", first of all" if len(verdict.problems) > 1 else ""
    return f"{headline[:-1]}{first}: {what}."


def _remarks(recording: Recording, verdict: Verdict, t: Training) -> list[str]:
    """What a reader must know first."""
    remarks = []
    count = runs_of(recording)
    if count > 1:
        remarks.append(
            f"The recording holds {count} runs. This page is about the last."
        )
    if t.broken_at is not None:
        remarks.append(
            "The loss first became NaN or infinite in epoch "
            f"{t.broken_at[0] + 1}, at step {t.broken_at[1]}. Measurements on "
            "a probe after that are meaningless, and left out."
        )
    curve = skill(t).finite
    if not verdict.problems and curve and constant_loss(t) is not None:
        share = percent(max(float(curve.values[-1]), 0.0))
        remarks.append(
            f"The model has removed {share} of the loss of the best constant "
            "prediction."
        )
    return remarks


def template_of(name: str) -> Any:
    """A template of this folder.

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
        finalize=_legible,
    )
    return environment.get_template(name)


def _legible(value: Any) -> Any:
    """Text without invisible characters or changes of writing direction.

    Args:
        value: Value of an expression in a template; HTML stays unchanged.
    """
    if type(value) is not str or value.isprintable():
        return value
    return "".join(c if c in _SPACES else printable(c) for c in value)
