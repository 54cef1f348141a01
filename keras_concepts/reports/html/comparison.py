"""Training runs side by side on one page."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts._whole_file import replace_file
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.verdict import (
    EMPTY,
    Verdict,
    verdict_of,
    verdict_on,
    withdrawn,
)
from keras_concepts.reports.drawing.names import printable
from keras_concepts.reports.html.chart import (
    Chart,
    chart_of,
    label_above,
    place_axes,
)
from keras_concepts.reports.html.differences import (
    differences,
    results,
)
from keras_concepts.reports.html.gradients import attenuation_of
from keras_concepts.reports.html.lines import (
    COLOURS,
    course,
    draw_line,
    numbers_of,
    set_scale,
)
from keras_concepts.reports.html.page import (
    sentence_of,
    template_of,
)
from keras_concepts.reports.html.problems import ShownProblem, shown_problems
from keras_concepts.reports.html.svg import drawing, new_figure
from keras_concepts.rules import Training
from keras_concepts.rules.harm import data_loss
from keras_concepts.rules.training import Curve, Index

_HEIGHT = 210.0
_MOST_CHARTS = 8


class Compared(NamedTuple):
    """A run of the comparison.

    Attributes:
        name: Name on the page.
        sentence: The verdict.
        worst: Worst severity of its problems, or `"fine"`.
        problems: Problems in words, without charts.
        withdrawn: Findings that no longer hold.
        training: The run.
        epochs: Epochs of the run.
    """

    name: str
    sentence: str
    worst: str
    problems: list[ShownProblem]
    withdrawn: list[str]
    training: Training
    epochs: Epochs


def write_comparison(
    recordings: Mapping[str, Recording], path: str | os.PathLike[str]
) -> None:
    """Writes training runs side by side as one HTML file.

    One chart for each loss and one for the attenuation, with all runs on the
    same axes; below, what was found in each run, and what differs in model,
    optimizer, data and versions.

    Args:
        recordings: One to six recordings of a `TrainingDoctor` or any other
            monitor, by their names on the page. The last run of each is shown.
        path: File to write, replaced in one step.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        OSError: The file cannot be written.
        ValueError: There is no recording, or there are more than six.
    """
    replace_file(path, comparison_html(recordings))


def comparison_html(recordings: Mapping[str, Recording]) -> str:
    """Training runs side by side as a page; see `write_comparison`.

    Args:
        recordings: See `write_comparison`.

    Raises:
        ImportError: jinja2 or matplotlib is not installed.
        ValueError: There is no recording, or there are more than six.
    """
    if not 1 <= len(recordings) <= len(COLOURS):
        raise ValueError(
            f"`recordings` of `write_comparison` must hold 1 to {len(COLOURS)} "
            f"recordings. Received: {len(recordings)} recordings."
        )
    template = template_of("comparison.html")
    runs = [_compared(*each) for each in recordings.items()]
    trainings = {run.name: run.training for run in runs}
    with drawing():
        return template.render(
            title=" and ".join(run.name for run in runs),
            runs=runs,
            charts=[*_charts(runs)],
            results=results(trainings),
            differences=differences(trainings),
        )


def _compared(name: str, recording: Recording) -> Compared:
    found = verdict_on(recording)
    if found is None:
        nothing = Training.whole(Index(recording, recording.run))
        empty = verdict_of(())
        return _shown(name, EMPTY, empty, nothing)
    return _shown(name, sentence_of(found[0]), *found)


def _shown(name: str, sentence: str, verdict: Verdict, t: Training) -> Compared:
    epochs = Epochs.of(t)
    return Compared(
        printable(name),
        sentence,
        verdict.problems[0].severity if verdict.problems else "fine",
        shown_problems(verdict, t, epochs, most_charts=0),
        [withdrawn(finding) for finding in verdict.withdrawn],
        t,
        epochs,
    )


def _charts(runs: Sequence[Compared]) -> list[Chart]:
    """The charts that at least one run has values for."""
    penalties = [run.training.curve(q.WEIGHT_PENALTY).values for run in runs]
    without = ", without penalties" if any(map(np.any, penalties)) else ""
    quantities: dict[str, tuple[str, dict[str, Curve]]] = {
        "loss": (f"Training loss{without}", {}),
        "validation-loss": ("Validation loss", {}),
        "attenuation": ("Error of the first layer over the last's", {}),
    }
    for run in runs:
        t = run.training
        curves = (data_loss(t), t.logs("val_loss"), attenuation_of(t))
        for (_, found), curve in zip(quantities.values(), curves, strict=True):
            if curve:
                found[run.name] = curve
    metrics = dict.fromkeys(
        key for run in runs for key in run.training.curves(q.LOG)
    )
    for key in metrics:
        found = {run.name: run.training.logs(key) for run in runs}
        found = {
            name: curve
            for name, curve in found.items()
            if curve and (curve.indices < 0).all()
        }
        is_loss = key in ("loss", "val_loss")
        if len(found) == len(runs) and not is_loss:
            quantities[f"metric-{len(quantities)}"] = printable(key), found
    kept = [*quantities.items()][:_MOST_CHARTS]
    return [
        _chart(name, title, curves, runs)
        for name, (title, curves) in kept
        if curves
    ]


def _chart(
    name: str,
    title: str,
    curves: Mapping[str, Curve],
    runs: Sequence[Compared],
) -> Chart:
    figure = new_figure(_HEIGHT)
    axes = figure.add_subplot()
    entries: dict[str, Any] = {}
    last = 1.0
    for run, colour in zip(runs, COLOURS, strict=False):
        if run.name in curves:
            # Each run from its own start.
            first = run.epochs.ends[0]
            moved = run.epochs._replace(ends=run.epochs.ends - first)
            entries[run.name] = draw_line(axes, curves[run.name], moved, colour)
            last = max(last, float(moved.ends[-1]))
    set_scale(axes, np.concatenate([c.values for c in curves.values()]))
    longest = max(runs, key=lambda run: run.epochs.ends[-1])
    longest.epochs._replace(ends=np.array([0.0, last])).label(axes)
    label_above(axes, title)
    place_axes(figure, axes)
    caption = "; ".join(course(*each) for each in curves.items())
    return chart_of(
        figure, name, title, f"{caption}.", entries, numbers_of(curves)
    )
