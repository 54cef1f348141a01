"""The problems of a run on a page: in words, numbers and charts."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from keras_concepts._documentation import page_link
from keras_concepts.reports.doctor.curves import Shown, curve_of
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.panels import Panel, draw_evidence
from keras_concepts.reports.doctor.verdict import (
    Problem,
    Verdict,
    began,
)
from keras_concepts.reports.drawing.figure_style import TICK_SIZE
from keras_concepts.reports.drawing.names import literal, printable, shorten
from keras_concepts.reports.html.chart import (
    Chart,
    Numbers,
    chart_of,
    label_above,
    place_axes,
    power_label,
    shown,
)
from keras_concepts.reports.html.lines import course, numbers_of, sentence
from keras_concepts.reports.html.svg import new_figure
from keras_concepts.rules import Finding, Measured, Training

# Charts cost time and space: those of causes come first.
MOST_CHARTS = 10
_HEIGHT = 190.0
_BAR, _MOST_BARS = 46.0, 4  # points
# Numbers that span a larger factor are drawn on a logarithmic scale.
_FACTOR = 50.0
_PINK = "#cc79a7"
_LONGEST = 46  # characters
_SEVERITIES = {"error": "Error", "warning": "Warning", "info": "Note"}


@dataclasses.dataclass(frozen=True)
class ShownFinding:
    """A finding in words.

    Attributes:
        name: Its identifier in the page.
        rule: The rule, in words.
        owner: Path of the layer or variable, or `""`.
        finding: The finding.
        severity: Severity in one word.
        when: Since when, and when it was noticed.
        code: The change, as code.
        link: Address of the page that explains it, or `""`.
        evidence: The evidence as a table, if there is any.
        charts: The measured quantity over time, if there is a curve, and other
            numbers with their thresholds.
    """

    name: str
    rule: str
    owner: str
    finding: Finding
    severity: str
    when: str
    code: str
    link: str
    evidence: Numbers | None
    charts: Sequence[Chart]


@dataclasses.dataclass(frozen=True)
class ShownProblem:
    """A cause and its consequences.

    Attributes:
        number: Number, from 1.
        severity: The worst severity of the current findings.
        cause: The finding that explains the others.
        effects: The others.
    """

    number: int
    severity: str
    cause: ShownFinding
    effects: list[ShownFinding]


def shown_problems(
    verdict: Verdict,
    t: Training,
    epochs: Epochs,
    *,
    most_charts: int = MOST_CHARTS,
) -> list[ShownProblem]:
    """The current problems, the worst first.

    Args:
        verdict: The verdict on the run.
        t: The whole run.
        epochs: Epochs of the run.
        most_charts: Maximum number of findings with a chart, causes first.
    """
    found = itertools.islice(_charts(verdict.problems, t, epochs), most_charts)
    charts: dict[str, list[Chart]] = {}
    for name, chart in found:
        charts.setdefault(name, []).append(chart)
    return [
        ShownProblem(
            number,
            problem.severity,
            *_first_and_rest(
                [
                    _shown_finding(finding, name, charts.get(name, []))
                    for name, finding in _named(number, problem)
                ]
            ),
        )
        for number, problem in enumerate(verdict.problems, start=1)
    ]


def rule_in_words(finding: Finding) -> str:
    """`vanishing_gradient` as `Vanishing gradient`."""
    words = finding.rule.replace("_", " ")
    variant = f" ({finding.variant})" if finding.variant else ""
    return printable(f"{words[:1].upper()}{words[1:]}{variant}")


def _first_and_rest(
    findings: list[ShownFinding],
) -> tuple[ShownFinding, list[ShownFinding]]:
    return findings[0], findings[1:]


def _named(number: int, problem: Problem) -> Iterator[tuple[str, Finding]]:
    for place, finding in enumerate(problem.findings):
        name = f"problem-{number}" + (f"-{place}" if place else "")
        yield name, finding


def _charts(
    problems: Sequence[Problem], t: Training, epochs: Epochs
) -> Iterator[tuple[str, Chart]]:
    """Charts by the name of their finding, those of causes first."""
    wanted = [
        (place > 0, number, name, finding)
        for number, problem in enumerate(problems, start=1)
        for place, (name, finding) in enumerate(_named(number, problem))
    ]
    for is_effect, number, name, finding in sorted(wanted, key=lambda w: w[0]):
        found = curve_of(finding, t)
        if found is not None:
            panel = Panel(number, finding, not is_effect, found)
            yield name, evidence_chart(panel, epochs, f"{name}-chart")
        if found is None or found.threshold is None:
            chart = number_chart(finding, f"{name}-numbers")
            if chart is not None:
                yield name, chart


def evidence_chart(panel: Panel, epochs: Epochs, name: str) -> Chart:
    """What was measured, its threshold, and when the problem began.

    Args:
        panel: The panel to draw.
        epochs: Epochs of the run.
        name: Identifier of the chart on its page.
    """
    figure = new_figure(_HEIGHT)
    axes = figure.add_subplot()
    entries = {panel.shown.label: None} | draw_evidence(axes, panel, epochs)
    entries[panel.shown.label] = axes.lines[0]
    label_above(axes, panel.shown.label)
    place_axes(figure, axes)
    return chart_of(
        figure,
        name,
        f"{rule_in_words(panel.finding)}: {panel.shown.label}",
        _caption(panel.finding, panel.shown),
        entries,
        numbers_of({panel.shown.label: panel.shown.curve}),
    )


def number_chart(finding: Finding, name: str) -> Chart | None:
    """Numbers that no curve shows, with their thresholds.

    Args:
        finding: A finding with its evidence.
        name: Identifier of the chart on its page.

    Returns:
        `None` if no finite number has a threshold.
    """
    numbers = [
        (each, float(each.value), float(each.threshold))
        for each in finding.evidence
        if each.threshold is not None and not isinstance(each.value, str)
    ]
    numbers = [n for n in numbers if np.isfinite(n[1:]).all()][:_MOST_BARS]
    if not numbers:
        return None
    figure = new_figure(_BAR * len(numbers) + 44.0)
    axes = figure.add_subplot()
    entries = _draw_bars(axes, numbers)
    height = figure.get_figheight() * 72.0
    axes.set_position((0.05, 24.0 / height, 0.89, 1.0 - 26.0 / height))
    rule = rule_in_words(finding)
    measures = (
        f"{printable(each.name)} is {_with_unit(value, each.unit)} where "
        f"{_with_unit(threshold, each.unit)} is the threshold"
        for each, value, threshold in numbers
    )
    caption = sentence("; ".join(measures))
    return chart_of(figure, name, f"{rule}: evidence", caption, entries)


def _draw_bars(
    axes: Any, numbers: Sequence[tuple[Measured, float, float]]
) -> dict[str, Any]:
    """A bar for each number; returns entries for the legend, by label."""
    values = np.array([pair for _, *pair in numbers])
    axes.locator_params(axis="x", nbins=5)
    if values.min() > 0.0 and values.max() > _FACTOR * values.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(power_label)
        axes.xaxis.set_minor_formatter("")
    entries: dict[str, Any] = {}
    for row, (measured, value, threshold) in enumerate(numbers):
        entries["measured"] = axes.barh(
            row + 0.1, value, height=0.4, color="#0072b2"
        )[0]
        [entries["threshold"]] = axes.plot(
            [threshold, threshold], [row - 0.2, row + 0.4], "--", color=_PINK
        )
        [name] = shorten([printable(measured.name)], _LONGEST)
        axes.text(
            *(0.0, row - 0.24, literal(name)),
            transform=axes.get_yaxis_transform(),
            size=TICK_SIZE,
            va="bottom",
        )
    axes.set_ylim(len(numbers) - 0.4, -0.85)
    axes.set_yticks([])
    axes.tick_params(labelsize=TICK_SIZE)
    axes.spines[["top", "right", "left"]].set_visible(False)
    return entries


def _caption(finding: Finding, found: Shown) -> str:
    text = course(found.label, found.curve)
    text = f"{text[:1].upper()}{text[1:]}"
    if found.threshold is not None:
        text += f"; the threshold is {shown(found.threshold)}"
    when = began(finding)
    verb = "begins" if when.startswith("before") else "holds"
    noticed = f"is noticed in epoch {finding.noticed[0] + 1}"
    return f"{text}. The problem {verb} {when} and {noticed}."


def _shown_finding(
    finding: Finding, name: str, charts: Sequence[Chart]
) -> ShownFinding:
    when = began(finding)
    if finding.noticed[0] > finding.since[0]:
        when += f", noticed in epoch {finding.noticed[0] + 1}"
    return ShownFinding(
        name,
        rule_in_words(finding),
        printable(finding.owner),
        finding,
        _SEVERITIES[finding.severity],
        when,
        "\n".join(map(printable, finding.code.split("\n"))),
        printable(page_link(finding.page)),
        _evidence(finding.evidence),
        charts,
    )


def _evidence(evidence: Sequence[Measured]) -> Numbers | None:
    if not evidence:
        return None
    rows = [
        [
            printable(each.name),
            _with_unit(each.value, each.unit),
            "–"
            if each.threshold is None
            else _with_unit(each.threshold, each.unit),
        ]
        for each in evidence
    ]
    return Numbers(["measured", "value", "threshold"], rows)


def _with_unit(value: float | str, unit: str) -> str:
    text = printable(value) if isinstance(value, str) else shown(float(value))
    return f"{text} {unit}".rstrip()
