"""A figure of the evidence for what is wrong with a training run."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.curves import curve_of
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.panels import (
    Panel,
    draw_evidence,
    draw_losses,
    draw_spans,
)
from keras_concepts.reports.doctor.verdict import (
    EMPTY,
    Problem,
    Verdict,
    verdict_on,
)
from keras_concepts.reports.drawing.figure_style import (
    TITLE_SIZE,
    add_legend,
    empty_figure,
    new_figure,
)
from keras_concepts.reports.drawing.names import literal
from keras_concepts.rules import Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_PROBLEMS = 6
MOST_CURVES = 6
NOTE_SIZE = 9.5
_WIDTH = 11.0
_NOTE = 125  # characters in a line
_NOTE_LINE = 0.18  # inches


def plot_doctor(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the loss and the problems of the last run, and their evidence.

    On top the training and validation loss and that of a constant prediction;
    below, when each problem began and was noticed; then, for each finding that
    a curve can show, the measured quantity and its threshold. At most six
    problems and six curves are drawn, first one for each problem.

    Args:
        recording: Recording of a `TrainingDoctor` or any other monitor.
        title: Title; by default the number of problems found.

    Raises:
        ImportError: matplotlib is not installed.
    """
    found = verdict_on(recording)
    if found is None:
        return empty_figure(title or EMPTY)
    verdict, training = found
    problems = verdict.problems[:MOST_PROBLEMS]
    curves = _curves(problems, training)
    epochs = Epochs.of(training)
    has_loss = bool(training.logs("loss"))
    top = [3.2 if has_loss else 0.4, 0.15 + 0.5 * len(problems)]
    notes = "\n".join(textwrap.fill(note, _NOTE) for note in verdict.notes)
    columns = min(len(curves), 2)
    rows = -(-len(curves) // 2)
    heights = [sum(top) + 0.6 * has_loss + _NOTE_LINE * len(notes.split("\n"))]
    heights += [2.6 * rows] if rows else []
    figure = new_figure(_WIDTH, sum(heights) + 1.0)
    parts = figure.subfigures(
        len(heights), 1, height_ratios=heights, squeeze=False
    )[:, 0]
    panels = parts[0].subplots(
        *(2 if problems else 1, 1),
        height_ratios=top if problems else None,
        squeeze=False,
    )[:, 0]
    entries = draw_losses(panels[0], training, epochs)
    panels[0].set_title(
        literal(notes), loc="left", size=NOTE_SIZE, color="0.35"
    )
    if problems:
        entries |= draw_spans(panels[1], problems, epochs)
    if curves:
        below = parts[1].subplots(rows, columns, squeeze=False).ravel()
        entries |= _draw_curves(below, curves, epochs)
    add_legend(figure, [*entries.values()])
    figure.suptitle(title or _headline(verdict), size=TITLE_SIZE)
    return figure


def _curves(problems: Sequence[Problem], training: Training) -> list[Panel]:
    """The findings that curves show, first one of each problem, in order."""
    of_problems = [
        [
            Panel(number, finding, finding is problem.cause, shown)
            for finding in problem.findings
            if (shown := curve_of(finding, training)) is not None
        ]
        for number, problem in enumerate(problems, start=1)
    ]
    first = [panels[0] for panels in of_problems if panels]
    others = [panel for panels in of_problems for panel in panels[1:]]
    kept = (first + others)[:MOST_CURVES]
    return sorted(kept, key=lambda panel: panel.number)


def _draw_curves(
    axes: Sequence[Any], panels: Sequence[Panel], epochs: Epochs
) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for each, panel in zip(axes, panels, strict=False):
        entries |= draw_evidence(each, panel, epochs)
    for each in axes[len(panels) :]:
        each.set_axis_off()
    return entries


def _headline(verdict: Verdict) -> str:
    left_out = len(verdict.problems) - MOST_PROBLEMS
    if left_out <= 0:
        return verdict.headline
    return f"{verdict.headline} The worst {MOST_PROBLEMS} are drawn."
