"""The panels of the doctor's figure."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.curves import Shown
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.verdict import Problem, measured, place
from keras_concepts.reports.drawing.figure_style import LABEL_SIZE, TICK_SIZE
from keras_concepts.reports.drawing.names import literal, shorten
from keras_concepts.rules import Finding, Training
from keras_concepts.rules.harm import (
    constant_loss,
    data_loss,
    reference_loss,
)
from keras_concepts.rules.training import Curve

_BLUE, _ORANGE, _PINK, _GREY = "#0072b2", "#d55e00", "#cc79a7", "0.45"
_COLOURS = {"error": "#d55e00", "warning": "#e69f00", "info": "#56b4e9"}
# From this many values on, a curve is drawn without points.
_MANY = 60
# Curves that span a larger factor are drawn on a logarithmic scale.
_FACTOR = 100.0
_NAME_LENGTH = 44  # characters
_NOTICED = "noticed"
_LINE = 118
_NAMES = {"error": "Error", "warning": "Warning", "info": "Note"}


class Panel(NamedTuple):
    """A finding that a curve shows.

    Attributes:
        number: Number of its problem, from 1.
        finding: The finding.
        is_cause: Whether it is the cause of the problem or a consequence.
        shown: The curve.
    """

    number: int
    finding: Finding
    is_cause: bool
    shown: Shown


def draw_losses(axes: Any, t: Training, epochs: Epochs) -> dict[str, Any]:
    """The loss as the harm gate sees it, and that of a constant prediction.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        t: The whole run.
        epochs: Epochs of the run.

    Returns:
        Entries for the legend, by label.
    """
    entries: dict[str, Any] = {}
    data = data_loss(t)
    if not data:
        _say(axes, "no epoch with a loss has ended")
        axes.set_axis_off()
        return entries
    without = bool(t.curve(q.WEIGHT_PENALTY).values.any())
    training = "training loss" + (", without penalties" if without else "")
    curves = {training: (data, _BLUE)}
    curves["validation loss"] = t.logs("val_loss"), _ORANGE
    for label, (curve, colour) in curves.items():
        if curve.finite:
            [entries[label]] = draw_curve(axes, curve, epochs, colour)
    has_finite = bool(entries)
    values = [curve.values for curve, _ in curves.values()]
    reference = reference_loss(t)
    if reference is not None and has_finite:
        label = "loss of the best constant prediction"
        if constant_loss(t) is None:
            label = "loss before training, or of the first epoch"
        entries[label] = axes.axhline(reference, color=_GREY, ls="--", lw=1.5)
        values.append(np.array([reference]))
    if t.broken_at is not None:
        at = epochs.after(t.broken_at[1])
        label = "first loss that is not finite"
        entries[label] = axes.axvline(at, color="black", ls=":", lw=1.5)
    for label, entry in entries.items():
        entry.set_label(label)
    _scale(axes, np.concatenate(values))
    if not has_finite:
        _say(axes, "no epoch ended with a finite loss")
    axes.set_ylabel("loss", size=LABEL_SIZE)
    epochs.label(axes)
    return entries


def draw_spans(
    axes: Any, problems: Sequence[Problem], epochs: Epochs
) -> dict[str, Any]:
    """When each problem began and was noticed, with its numbers.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        problems: From top to bottom.
        epochs: Epochs of the run.

    Returns:
        Entries for the legend, by label.
    """
    entries: dict[str, Any] = {}
    first, last = float(epochs.ends[0]), float(epochs.ends[-1])
    for row, problem in enumerate(problems):
        cause = problem.cause
        text = f"{row + 1}. {_in_a_line(cause)}"
        axes.text(
            first,
            row - 0.22,
            literal(text),
            size=TICK_SIZE * min(1.0, _LINE / len(text)),
            va="bottom",
        )
        if first == last:
            continue
        begin, end = _span(cause, epochs)
        axes.barh(
            row,
            max(end - begin, 0.006 * (last - first)),
            left=begin,
            height=0.26,
            color=_COLOURS[cause.severity],
            alpha=0.85,
        )
        [entries[_NOTICED]] = axes.plot(
            [epochs.after(cause.noticed[1])],
            [row],
            "|",
            color="black",
            ms=12,
            mew=1.5,
            label=_NOTICED,
        )
    axes.set_ylim(len(problems) - 0.5, -0.85)
    epochs.label(axes, named=False)
    axes.set_yticks([])
    axes.tick_params(labelbottom=False, bottom=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    return entries


def draw_evidence(axes: Any, panel: Panel, epochs: Epochs) -> dict[str, Any]:
    """A measured quantity, its threshold, and when the problem began.

    Args:
        axes: `matplotlib.axes.Axes` to draw into.
        panel: What to draw.
        epochs: Epochs of the run.

    Returns:
        Entries for the legend, by label.
    """
    finding, shown = panel.finding, panel.shown
    _ = draw_curve(axes, shown.curve, epochs, _BLUE)
    values = shown.curve.values
    entries: dict[str, Any] = {}
    if shown.threshold is not None:
        entries["threshold"] = axes.axhline(
            shown.threshold, color=_PINK, ls="--", lw=1.5
        )
        values = np.append(values, shown.threshold)
    if "share" not in shown.label:
        _scale(axes, values)
    elif values.max() <= 1.0:  # below 0 a model is worse than a constant
        if values.min() < -10.0:
            axes.set_yscale("symlog", linthresh=1.0)
        axes.set_ylim(1.05 * min(-0.02, values.min()), 1.02)
    epochs.label(axes)
    entries["while it holds"] = axes.axvspan(
        *_span(finding, epochs), color=_COLOURS["warning"], alpha=0.15, lw=0
    )
    entries[_NOTICED] = axes.axvline(
        epochs.after(finding.noticed[1]), color="black", lw=1.5
    )
    for label, entry in entries.items():
        entry.set_label(label)
    axes.set_ylabel(literal(shown.label), size=TICK_SIZE)
    leads_to = "" if panel.is_cause else "leads to "
    title = f"{panel.number}. {leads_to}{_short(finding)}"
    axes.set_title(literal(title), loc="left", size=LABEL_SIZE)
    return entries


def _span(finding: Finding, epochs: Epochs) -> tuple[float, float]:
    """Where a finding began, and where it or the run ended."""
    end = finding.resolved[1] if finding.resolved else epochs.steps[-1]
    return float(epochs.after(finding.since[1])), float(epochs.after(end))


def draw_curve(
    axes: Any, curve: Curve, epochs: Epochs, colour: str
) -> list[Any]:
    """A curve over the epochs, with gaps for non-finite values."""
    order = np.argsort(curve.steps, kind="stable")
    values = curve.values[order]
    return axes.plot(
        epochs.after(curve.steps[order]),
        np.where(np.isfinite(values), values, np.nan),
        marker="o" if len(values) <= _MANY else None,
        ms=4,
        lw=1.5 if len(values) <= _MANY else 1.0,
        color=colour,
    )


def _scale(axes: Any, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    low, high = finite.min(initial=np.inf), finite.max(initial=0.0)
    if low > 0.0 and high > low * _FACTOR:
        axes.set_yscale("log")


def _say(axes: Any, sentence: str) -> None:
    axes.set_yticks([])
    axes.set_ylim(0.0, 1.0)
    axes.text(
        *(0.5, 0.5, sentence),
        transform=axes.transAxes,
        ha="center",
        size=LABEL_SIZE,
        backgroundcolor="white",
    )


def _in_a_line(finding: Finding) -> str:
    """A finding with as many of its numbers as fit."""
    name = f"{_NAMES[finding.severity]}: {_short(finding)}"
    texts = (
        f"{name}: {measured(finding, most)}"
        for most in range(len(finding.evidence), 0, -1)
    )
    # If it is a little too long, it is drawn smaller.
    room = 1.25 * _LINE
    return next((text for text in texts if len(text) <= room), name)


def _short(finding: Finding) -> str:
    """Rule and owner, whose last parts matter most."""
    short = finding
    while len(place(short)) > _NAME_LENGTH and "/" in short.owner:
        rest = short.owner.partition("/")[2]
        short = dataclasses.replace(short, owner=rest)
    return shorten([place(short)], _NAME_LENGTH)[0]
