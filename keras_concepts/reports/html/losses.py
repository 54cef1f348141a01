"""Charts of the loss and its parts, of other logs and of the learning rate."""

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.doctor.panels import draw_losses
from keras_concepts.reports.drawing.names import printable, shorten
from keras_concepts.reports.html.chart import (
    Chart,
    chart_of,
    label_above,
    place_axes,
    shown,
)
from keras_concepts.reports.html.lines import (
    course,
    line_chart,
    numbers_of,
    sentence,
)
from keras_concepts.reports.html.svg import new_figure
from keras_concepts.rules import Training
from keras_concepts.rules.harm import data_loss, reference_loss
from keras_concepts.rules.training import Curve

_HEIGHT = 210.0
_DATA = "data loss"
_LONGEST_NAME = 40
_MOST_LINES, _MOST_METRICS = 5, 6
# A share below this looks like 0 on an axis that ends at 1.
_VISIBLE = 0.05


def loss_charts(t: Training, epochs: Epochs) -> list[Chart]:
    """The loss, its parts if it has several, and the loss of the probe."""
    charts = []
    if t.logs("loss"):
        charts.append(loss_chart(t, epochs))
    parts = _parts(t, epochs)
    if len(parts) > 1:
        charts.append(
            line_chart(
                "loss-parts", "Parts of the loss", parts, epochs, label="loss"
            )
        )
    outputs = {
        owner: epochs.at_ends(curve)
        for owner, curve in t.curves(q.DATA_LOSS).items()
        if owner
    }
    if len(outputs) > 1:
        names = shorten([*map(printable, outputs)], _LONGEST_NAME)
        curves = dict(zip(names, outputs.values(), strict=True))
        kept = dict([*curves.items()][:_MOST_LINES])
        charts.append(
            line_chart(
                "loss-outputs",
                "Loss of each output",
                kept,
                epochs,
                label="loss",
            )
        )
    return charts


def loss_chart(t: Training, epochs: Epochs) -> Chart:
    """The loss and that of a constant prediction."""
    figure = new_figure(_HEIGHT)
    axes = figure.add_subplot()
    entries = draw_losses(axes, t, epochs)
    label_above(axes, "loss")
    place_axes(figure, axes)
    without = any("without" in label for label in entries)
    training = "training loss" + (" without penalties" if without else "")
    curves = {training: data_loss(t), "validation loss": t.logs("val_loss")}
    curves = {label: curve for label, curve in curves.items() if curve}
    caption = sentence(
        "; ".join(f"the {course(*each)}" for each in curves.items())
    )
    dashed = [label for label in entries if label.startswith("loss ")]
    reference = reference_loss(t)
    if dashed and reference is not None:
        caption += f" The dashed line, at {shown(reference)}, is the "
        caption += f"{dashed[0]}."
    return chart_of(
        figure, "loss-chart", "Loss", caption, entries, numbers_of(curves)
    )


def metric_charts(t: Training, epochs: Epochs) -> list[Chart]:
    """Other logs of `fit`, with training and validation in one chart.

    Logs of monitors have their charts elsewhere.
    """
    charts = []
    logs = t.curves(q.LOG)
    keys = dict.fromkeys(key.removeprefix("val_") for key in logs)
    shown_elsewhere = {"loss", str(q.LEARNING_RATE), *q.MONITOR_LOGS}
    metrics = [key for key in keys if key not in shown_elsewhere]
    for number, key in enumerate(metrics):
        curves = {
            each: logs[each]
            for each in (key, f"val_{key}")
            if each in logs and (logs[each].indices < 0).all()
        }
        if curves and len(charts) < _MOST_METRICS:
            names = shorten([*map(printable, [key, *curves])], _LONGEST_NAME)
            labelled = dict(zip(names[1:], curves.values(), strict=True))
            values = np.concatenate([c.values for c in curves.values()])
            share = bool(((values >= 0.0) & (values <= 1.0)).all())
            share &= bool((values >= _VISIBLE).any())
            charts.append(
                line_chart(
                    *(f"metric-{number}", names[0], labelled, epochs),
                    share=share,
                )
            )
    return charts


def learning_rate_charts(t: Training, epochs: Epochs) -> list[Chart]:
    """The learning rate, if it changed."""
    curve = t.curve(q.LEARNING_RATE)
    if not curve or (curve.values == curve.values[0]).all():
        return []
    return [
        line_chart(
            "learning-rate-chart",
            "Learning rate",
            {"learning rate": curve},
            epochs,
        )
    ]


def learning_rate_sentences(t: Training) -> list[str]:
    """The learning rate, if it stayed the same."""
    curve = t.curve(q.LEARNING_RATE)
    if curve and (curve.values == curve.values[0]).all():
        return [f"The learning rate is {shown(curve.values[0])} throughout."]
    return []


def _parts(t: Training, epochs: Epochs) -> dict[str, Curve]:
    """Data loss, penalties and the rest, without those that are 0."""
    measured = {
        _DATA: t.curve(q.DATA_LOSS),
        "penalty": t.curve(q.PENALTY),
        "added by layers": t.curve(q.ADDED_LOSS),
        "other parts": t.curve(q.OTHER_LOSS),
    }
    if not measured[_DATA]:
        measured = {
            _DATA: data_loss(t),
            "penalty of the weights": t.curve(q.WEIGHT_PENALTY),
            "added by layers": t.curve(q.PROBE_ADDED_LOSS),
        }
    return {
        label: epochs.at_ends(curve)
        for label, curve in measured.items()
        if curve and (label == _DATA or curve.values.any())
    }
