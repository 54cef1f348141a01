"""Training runs beside each other on one page."""

import os
from collections.abc import Mapping

from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.verdict import EMPTY, verdict_on
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.page import (
    sentence_of,
    template_of,
    write_page,
)


def write_comparison(
    recordings: Mapping[str, Recording], path: str | os.PathLike[str]
) -> None:
    """Writes training runs beside each other as one HTML file.

    Args:
        recordings: What a `TrainingDoctor`, or any monitor, recorded, by the
            names that the page gives them. Of each the last run is shown.
        path: File to write. It is replaced in one step.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: There is no recording.
    """
    write_page(comparison_html(recordings), path)


def comparison_html(recordings: Mapping[str, Recording]) -> str:
    """Training runs beside each other as a page; see `write_comparison`.

    Args:
        recordings: See `write_comparison`.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        ValueError: There is no recording.
    """
    if not recordings:
        raise ValueError(
            "`recordings` of `write_comparison` must hold one recording or "
            "more. Received: recordings={}."
        )
    template = template_of("comparison.html")
    found = {name: verdict_on(each) for name, each in recordings.items()}
    names = [printable(name) for name in recordings]
    return template.render(
        title=" and ".join(names),
        verdicts=[
            (name, EMPTY if each is None else sentence_of(each[0]))
            for name, each in zip(names, found.values(), strict=True)
        ],
    )
