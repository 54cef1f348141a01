"""Charts of curves over the epochs of a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.html.chart import (
    Chart,
    Numbers,
    chart_of,
    label_above,
    place_axes,
    shown,
    thinned,
)
from keras_concepts.reports.html.svg import new_figure
from keras_concepts.reports.selection import epoch_name
from keras_concepts.rules.training import Curve

HEIGHT = 190.0
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
_STYLES = ("-", "-", "--", "--", ":", ":")
# From this many values on, a curve is drawn without points.
_MANY = 60
# Curves that span a larger factor are drawn on a logarithmic scale.
_FACTOR = 100.0


def line_chart(
    name: str,
    title: str,
    curves: Mapping[str, Curve],
    epochs: Epochs,
    *,
    label: str = "",
    caption: str = "",
    share: bool = False,
) -> Chart:
    """Curves in one chart, each in its own colour.

    Args:
        name: See `Chart`.
        title: See `Chart`.
        curves: Curves by label, at most six, none empty.
        epochs: Epochs of the run.
        label: Label of the vertical axis.
        caption: Text before the description of each curve.
        share: Whether values lie between 0 and 1.
    """
    figure = new_figure(HEIGHT)
    axes = figure.add_subplot()
    entries = {
        key: draw_line(axes, curve, epochs, colour, style)
        for (key, curve), colour, style in zip(
            curves.items(), COLOURS, _STYLES, strict=False
        )
    }
    values = np.concatenate([curve.values for curve in curves.values()])
    set_scale(axes, values, share)
    epochs.label(axes)
    label_above(axes, label or title)
    place_axes(figure, axes)
    # Names keep their lower-case first letter.
    text = "; ".join(course(key, curve) for key, curve in curves.items())
    text = f"{caption} {text}.".strip()
    return chart_of(figure, name, title, text, entries, numbers_of(curves))


def draw_line(
    axes: Any, curve: Curve, epochs: Epochs, colour: str, style: str = "-"
) -> Any:
    """Draws a curve, with a gap where it is not finite; returns the line."""
    order = np.argsort(curve.steps, kind="stable")
    values = curve.values[order]
    [line] = axes.plot(
        epochs.after(curve.steps[order]),
        np.where(np.isfinite(values), values, np.nan),
        style,
        marker="o" if len(values) <= _MANY else None,
        ms=4,
        lw=1.6,
        color=colour,
    )
    return line


def set_scale(axes: Any, values: np.ndarray, share: bool = False) -> None:
    """A logarithmic scale if values span a large factor."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        axes.set_yticks([])
    elif share:
        axes.set_ylim(-0.03, 1.03)
    elif 0.0 < finite.min() < finite.max() / _FACTOR:
        axes.set_yscale("log")


def course(what: str, curve: Curve) -> str:
    """The course of a curve in words: from where to where."""
    curve = curve_in_order(curve)
    first, last = float(curve.values[0]), float(curve.values[-1])
    begin, end = (epoch_name(int(curve.epochs[at])) for at in (0, -1))
    if len(curve.values) == 1:
        return f"{what} is {shown(last)} {_in(end)}"
    bad = ~np.isfinite(curve.values)
    if bad.any():
        at = int(np.argmax(bad))
        when = epoch_name(int(curve.epochs[at]))
        text = f"{what} is {shown(float(curve.values[at]))} {_in(when)}"
        if at:
            before = shown(float(curve.values[at - 1]))
            text += f", after {shown(first)} at first and {before} just before"
        return text
    if first == last and (curve.values == first).all():
        return f"{what} is {shown(first)} throughout"
    middle = ""
    if len({*map(shown, curve.values)}) == 1:
        return f"{what} is about {shown(first)} throughout"
    lowest, highest = curve.values.min(), curve.values.max()
    seen = {shown(first), shown(last)}
    if highest > max(first, last) and shown(highest) not in seen:
        at = epoch_name(int(curve.epochs[np.argmax(curve.values)]))
        middle = f", up to {shown(highest)} {_in(at)},"
    elif lowest < min(first, last) and shown(lowest) not in seen:
        at = epoch_name(int(curve.epochs[np.argmin(curve.values)]))
        middle = f", down to {shown(lowest)} {_in(at)},"
    return (
        f"{what} goes from {shown(first)} {_in(begin)}{middle} to "
        f"{shown(last)} {_in(end)}"
    )


def curve_in_order(curve: Curve) -> Curve:
    """By step."""
    order = np.argsort(curve.steps, kind="stable")
    return Curve(*(column[order] for column in curve))


def numbers_of(curves: Mapping[str, Curve]) -> Numbers:
    """The last value of each epoch, as a table with a column for each curve."""
    by_epoch = [
        dict(zip(c.epochs.tolist(), c.values.tolist(), strict=True))
        for c in map(curve_in_order, curves.values())
    ]
    epochs = sorted(int(epoch) for epoch in set().union(*by_epoch))
    kept = thinned(len(epochs))
    rows = [
        [
            epoch_name(epochs[place]),
            *(
                shown(each[epochs[place]]) if epochs[place] in each else "–"
                for each in by_epoch
            ),
        ]
        for place in kept
    ]
    note = ""
    if len(kept) < len(epochs):
        note = f"{len(kept)} of {len(epochs)} epochs are shown."
    return Numbers(["epoch", *curves], rows, note)


def sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def _in(epoch: str) -> str:
    return "before training" if epoch == "start" else f"in epoch {epoch}"
