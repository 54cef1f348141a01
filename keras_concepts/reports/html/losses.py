"""Charts of the loss, of other logs and of the learning rate."""

import numpy as np

from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.panels import draw_losses
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
from keras_concepts.rules import Training
from keras_concepts.rules.harm import data_loss, reference_loss
from keras_concepts.rules.training import Curve

_HEIGHT = 210.0


def loss_chart(t: Training, epochs: Epochs, name: str = "loss") -> Chart | None:
    """The loss beside that of a constant prediction; `None` without any."""
    if not t.logs("loss"):
        return None
    figure = new_figure(_HEIGHT)
    axes = figure.add_subplot()
    entries = draw_losses(axes, t, epochs)
    label_above(axes, "loss")
    place_axes(figure, axes)
    without = any("without" in label for label in entries)
    training = "training loss" + (" without penalties" if without else "")
    curves = {training: data_loss(t), "validation loss": t.logs("val_loss")}
    curves = {label: curve for label, curve in curves.items() if curve}
    parts = [course(label, curve) for label, curve in curves.items()]
    caption = f"{'; '.join(parts)}."
    reference = reference_loss(t)
    if reference is not None and len(entries) > len(curves):
        label = [*entries][len(curves)]
        caption += f" The dashed line, {shown(reference)}, is the {label}."
    return chart_of(
        figure,
        name,
        "Loss",
        _sentence(caption),
        entries,
        numbers_of(curves),
    )


def course(what: str, curve: Curve) -> str:
    """How a curve went, in words: from where to where."""
    first, last = curve.values[0], curve.values[-1]
    at = epoch_name(int(curve.epochs[-1]))
    if len(curve.values) == 1:
        return f"the {what} is {shown(last)} in epoch {at}"
    bad = np.flatnonzero(~np.isfinite(curve.values))
    begin = epoch_name(int(curve.epochs[0]))
    if len(bad):
        when = epoch_name(int(curve.epochs[bad[0]]))
        return (
            f"the {what} begins at {shown(first)} and is "
            f"{shown(curve.values[bad[0]])} from epoch {when}"
        )
    text = (
        f"the {what} goes from {shown(first)} in epoch {begin} to "
        f"{shown(last)} in epoch {at}"
    )
    return text


def numbers_of(curves: dict[str, Curve]) -> Numbers:
    """Curves over the epochs as a table with a column for each."""
    epochs = sorted({int(e) for c in curves.values() for e in c.epochs})
    kept = thinned(len(epochs))
    by_epoch = [
        dict(zip(c.epochs.tolist(), c.values.tolist(), strict=True))
        for c in curves.values()
    ]
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
    note = _left_out(len(kept), len(epochs), "epochs")
    return Numbers(["epoch", *curves], rows, note)


def _left_out(kept: int, count: int, noun: str) -> str:
    return "" if kept == count else f"{kept} of {count} {noun} are shown."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
