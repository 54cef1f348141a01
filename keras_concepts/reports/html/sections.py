"""Sections of a page about a run, besides its problems."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.curves import Ratio, ratio_curve
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.drawing.names import layer_names, short_names
from keras_concepts.reports.html.chart import Chart, percent, shown
from keras_concepts.reports.html.gradients import gradients_of
from keras_concepts.reports.html.heatmap import Cells, heatmap_chart
from keras_concepts.reports.html.lines import line_chart
from keras_concepts.reports.html.losses import (
    learning_rate_charts,
    learning_rate_sentences,
    loss_charts,
    metric_charts,
)
from keras_concepts.reports.html.memory import memory_charts
from keras_concepts.rules import Training
from keras_concepts.rules.training import Curve
from keras_concepts.thresholds import USUAL_UPDATE_RATIO


class Section(NamedTuple):
    """A part of the page.

    Attributes:
        name: Its identifier in the page.
        title: Title of the section.
        charts: Charts in order.
        sentences: Sentences above the charts.
        link: Title in the table of contents.
    """

    name: str
    title: str
    charts: Sequence[Chart]
    sentences: Sequence[str] = ()
    link: str = ""


def sections_of(t: Training, epochs: Epochs) -> list[Section]:
    """All sections that have something to show.

    Args:
        t: The whole run.
        epochs: Epochs of the run.
    """
    made = (
        Section(
            "loss",
            "Loss, metrics and learning rate",
            [
                *loss_charts(t, epochs),
                *metric_charts(t, epochs),
                *learning_rate_charts(t, epochs),
            ],
            learning_rate_sentences(t),
            "Loss",
        ),
        Section(
            "signals",
            "Gradients, signals and updates",
            [*_signal_charts(t, epochs), *_update_charts(t, epochs)],
            link="Signals",
        ),
        Section(
            "units",
            "Dead and saturated units",
            *_unit_charts(t, epochs),
            link="Units",
        ),
        Section(
            "batch-normalization",
            "Batch normalization",
            _batch_norm_charts(t, epochs),
        ),
        Section(
            "memory",
            "Memory of recurrent layers",
            memory_charts(t, epochs),
            link="Memory",
        ),
    )
    return [each for each in made if each.charts or each.sentences]


def _signal_charts(t: Training, epochs: Epochs) -> list[Chart]:
    charts = []
    gradients = gradients_of(t)
    if gradients:
        cells = Cells.of(gradients, short_names([*gradients]), epochs)
        charts.append(
            _sizes(
                "gradients",
                "Gradients of the weights, RMS",
                cells,
                epochs,
                "no gradient",
            )
        )
    for quantity, name, title in (
        (q.ERROR_RMS, "errors", "Error signals dL/da of the layers, RMS"),
        (q.ACTIVATION_STD, "activations", "Activations, standard deviation"),
    ):
        curves = t.curves(quantity)
        if curves:
            cells = Cells.of(curves, layer_names([*curves]), epochs)
            charts.append(_sizes(name, title, cells, epochs))
    return charts


def _sizes(
    name: str,
    title: str,
    cells: Cells,
    epochs: Epochs,
    absent: str = "not measured",
) -> Chart:
    caption = _extremes(cells)
    return heatmap_chart(name, title, caption, cells, epochs, absent=absent)


def _extremes(cells: Cells) -> str:
    """Where the last values are smallest and largest, and first over last."""
    last, names = cells.last, cells.names
    bad = int(cells.nonfinite.any(axis=1).sum())
    when = "Of the last finite values" if bad else "At the end"
    parts = []
    if np.isfinite(last).any():
        low, high = int(np.nanargmin(last)), int(np.nanargmax(last))
        if len(names) > 1 and last[low] == last[high]:
            parts.append(f"{shown(last[0])} in all rows at the end.")
        elif len(names) == 1:
            parts.append(f"{shown(last[0])} at the end.")
        else:
            parts.append(
                f"{when} the smallest is {shown(last[low])} "
                f"({names[low]}) and the largest {shown(last[high])} "
                f"({names[high]})."
            )
            if np.isfinite(last[[0, -1]]).all() and last[-1] > 0.0:
                parts.append(
                    f"That of {names[0]}, the first, is "
                    f"{shown(last[0] / last[-1])} times that of the last."
                )
    if bad:
        parts.append(f"Not finite at some time in {bad} of {len(names)} rows.")
    return " ".join(parts) or "Nothing finite was measured."


def _unit_charts(t: Training, epochs: Epochs) -> tuple[list[Chart], list[str]]:
    charts, sentences = [], []
    units = t.curves(q.UNITS)
    dead = t.curves(q.ZERO_ACTIVATION_UNITS)
    what = "0 for every sample of the probe"
    if not dead:
        dead = {
            path: epochs.at_ends(curve)
            for path, curve in t.curves(q.ZERO_GRADIENT_UNITS).items()
        }
        what = "without a gradient in all steps of an epoch"
    for name, title, counts, meaning in (
        ("dead", "Dead units", dead, what),
        (
            "saturated",
            "Saturated units",
            t.curves(q.SATURATED_UNITS),
            "nearly flat for most samples of the probe",
        ),
    ):
        shares = _shares(counts, units)
        if not shares:
            continue
        some = {k: c for k, c in shares.items() if c.values.any()}
        if not some:
            sentences.append(f"No unit was {meaning}, in any layer.")
            continue
        cells = Cells.of(some, layer_names([*some]), epochs)
        caption = _worst_share(cells, meaning)
        if len(some) < len(shares):
            rest = len(shares) - len(some)
            plural = "" if rest == 1 else "s"
            caption += f" {rest} other layer{plural} never had any."
        charts.append(
            heatmap_chart(name, title, caption, cells, epochs, share=True)
        )
    return charts, sentences


def _shares(
    counts: Mapping[str, Curve], units: Mapping[str, Curve]
) -> dict[str, Curve]:
    return {
        owner: curve._replace(values=curve.values / units[owner].values[-1])
        for owner, curve in counts.items()
        if owner in units and units[owner].values[-1] > 0.0
    }


def _worst_share(cells: Cells, meaning: str) -> str:
    last = np.nan_to_num(cells.last)
    worst = int(np.argmax(last))
    over = int((last > 0.5).sum())
    share = percent(last[worst])
    return (
        f"Share of the units that are {meaning}. At the end {share} "
        f"in {cells.names[worst]}, and more than half in {over} of "
        f"{len(last)} layers shown."
    )


def _batch_norm_charts(t: Training, epochs: Epochs) -> list[Chart]:
    charts = []
    off = {path: epochs.at_ends(curve) for path, curve in _off(t).items()}
    if off:
        cells = Cells.of(off, layer_names([*off]), epochs)
        last = cells.last
        caption = (
            "How far the moving statistics are off: the larger of the shift "
            "of the mean in standard deviations and of the factors of 2 in "
            "the variance. From 1 on, inference differs from training."
        )
        if np.isfinite(last).any():
            worst = int(np.nanargmax(last))
            caption += (
                f" At the end at most {shown(last[worst])}, in "
                f"{cells.names[worst]}."
            )
        charts.append(
            heatmap_chart(
                "batch-norm",
                "Moving statistics against those of the batches",
                caption,
                cells,
                epochs,
                mark=1.0,
            )
        )
    modes: dict[str, Curve] = {}
    for quantities in (
        (q.TRAINING_LOSS, q.INFERENCE_LOSS),
        (q.PROBE_LOSS, q.PROBE_INFERENCE_LOSS),
    ):
        found = [t.curve(each) for each in quantities]
        if off and not modes and all(found):
            ends = map(epochs.at_ends, found)
            modes = dict(
                zip(("as in training", "at inference"), ends, strict=True)
            )
    if modes:
        charts.append(
            line_chart(
                "batch-norm-losses",
                "Loss of the probe in both modes",
                modes,
                epochs,
                label="loss of the probe",
            )
        )
    return charts


def _off(t: Training) -> dict[str, Curve]:
    """How far the moving statistics of each layer are off; see `derived`."""
    variances = t.curves(q.BATCH_NORM_VARIANCE)
    off = {}
    for owner, curve in t.curves(q.BATCH_NORM_SHIFT).items():
        if owner:
            values = np.abs(curve.values)
            logs = variances.get(owner)
            if logs is not None and len(logs.values) == len(values):
                values = np.fmax(values, np.abs(logs.values) / np.log(2.0))
            off[owner] = curve._replace(values=values)
    return off


def _update_charts(t: Training, epochs: Epochs) -> list[Chart]:
    for ratio, title, meaning in (
        (
            Ratio("", q.UPDATE_RMS, q.WEIGHT_RMS),
            "Update per step over the weights, RMS",
            f"About {shown(USUAL_UPDATE_RATIO)}, the white line beside the "
            "colours, is usual.",
        ),
        (
            Ratio("", q.EPOCH_UPDATE_RMS, q.EPOCH_WEIGHT_RMS),
            "Change since the last measurement over the weights, RMS",
            "",
        ),
    ):
        curves = _ratios(t, ratio)
        if curves:
            cells = Cells.of(curves, short_names([*curves]), epochs)
            return [
                heatmap_chart(
                    "update-ratios",
                    title,
                    f"{_extremes(cells)} {meaning}".rstrip(),
                    cells,
                    epochs,
                    mark=USUAL_UPDATE_RATIO if meaning else None,
                )
            ]
    return []


def _ratios(t: Training, ratio: Ratio) -> dict[str, Curve]:
    paths = [each["path"] for each in t.kernels] or [*t.curves(ratio.above)]
    curves = {path: ratio_curve(ratio, path, t) for path in paths}
    return {path: curve for path, curve in curves.items() if curve}
