"""Tables and figures of models with hundreds of layers, and odd names."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import (
    plot_recording,
    print_recording,
    report_html,
    report_of,
)
from pictures import check_layout

ROW = re.compile(r"(a_long_model_name_)?stage_\d")
KINDS = ("Conv2D", "BatchNormalization", "ReLU")
MONITORS = (
    "GradientMonitor",
    "SignalMonitor",
    "PenaltyReporter",
    "BatchNormShiftMonitor",
    "NonFiniteGuard",
)


def record(names, kinds=None, epochs=2):
    """What all monitors record, one row per layer and epoch."""
    recording = Recording()
    random = np.random.default_rng(0)
    if kinds:
        layers = zip(names, kinds, strict=True)
        facts = [{"path": path, "class": kind} for path, kind in layers]
        recording.record_facts({"layers": facts})
    for epoch in range(epochs):
        for monitor in MONITORS:
            for name in names:
                for quantity, value in _rows(monitor, random):
                    owner = name
                    if quantity.owner == "variable":
                        owner = f"{name}/kernel"
                    recording.append(
                        *(epoch, owner, quantity, epoch, value),
                        index=0 if quantity.indexed_by else None,
                        monitor=monitor,
                    )
        for quantity in (q.EPOCH_LOSS, q.DATA_LOSS, q.PENALTY):
            recording.append(
                epoch, "", quantity, epoch, 1.0, monitor="PenaltyReporter"
            )
        recording.append(
            epoch, "", q.CHECKED_STEPS, epoch, 1, monitor="NonFiniteGuard"
        )
    recording.append(
        *(epochs, names[0], q.NON_FINITE_ACTIVATION, epochs, 1),
        monitor="NonFiniteGuard",
    )
    return recording


def _rows(monitor, random):
    size = 10.0 ** random.uniform(-4, 1)
    return {
        "GradientMonitor": [
            (q.GRADIENT_RMS, size),
            (q.GRADIENT_NONFINITE, 0),
            (q.WEIGHT_RMS, 1.0),
            (q.UPDATE_RMS, 1e-3),
            (q.UNITS, 8),
            (q.ZERO_GRADIENT_UNITS, 0),
        ],
        "SignalMonitor": [
            (q.ACTIVATION_STD, size),
            (q.ACTIVATION_RMS, size),
            (q.ERROR_RMS, size),
            (q.ERROR_ATTENUATION, size),
        ],
        "PenaltyReporter": [(q.L2, size)],
        "BatchNormShiftMonitor": [
            (q.CALLS, 1),
            (q.MEAN_SHIFT, size),
            (q.LOG_VARIANCE_RATIO, size),
            (q.BATCH_NORM_SHIFT, size),
            (q.BATCH_NORM_VARIANCE, size),
            (q.INITIAL_SHARE, 0.5),
        ],
        "NonFiniteGuard": [],
    }[monitor]


def big(layers, **epochs):
    names = [
        f"a_long_model_name_stage_{i // 30}_block_{i // 3}_{KINDS[i % 3]}"
        for i in range(layers)
    ]
    return record(names, [KINDS[i % 3] for i in range(layers)], **epochs)


def text(recording, monitor, width, **options):
    console = Console(file=io.StringIO(), width=width)
    report_of(monitor).print(recording, console, **options)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def model():
    return big(300)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("monitor", MONITORS[:-1])
def test_a_big_model_is_a_short_table(model, monitor, width):
    lines = text(model, monitor, width).splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split()[0] for line in lines if ROW.match(line)]
    assert len(rows) == len(set(rows)) == 40
    note = " ".join(" ".join(lines).split())
    assert "260 of 300 rows are left out" in note
    assert "Pass max_rows=None to see all." in note
    few = text(model, monitor, width, max_rows=12)
    assert sum(bool(ROW.match(line)) for line in few.splitlines()) == 12
    every = text(model, monitor, width, max_rows=None)
    assert every.count("stage_") >= 300
    assert "left out; shown" not in every


def test_the_last_epochs_of_a_guard():
    recording = Recording(monitor="NonFiniteGuard")
    for epoch in range(50):
        recording.append(epoch, "", q.CHECKED_STEPS, epoch, 7)
    lines = text(recording, "NonFiniteGuard", 80).splitlines()
    epochs = [line.split()[0] for line in lines if line.endswith("0")]
    assert "1" not in epochs
    assert "10 of 50 rows are left out" in " ".join(lines)


@pytest.mark.parametrize("layers", [150, 600])
def test_figures_of_a_big_model(layers, monkeypatch):
    figures = plot_recording(big(layers))
    del figures["NonFiniteGuard"]  # has too few texts to collide
    for figure in figures.values():
        check_layout(figure, monkeypatch)


@pytest.mark.parametrize(
    "epochs", [4, pytest.param(100, marks=pytest.mark.long)]
)
def test_the_page_of_a_big_model_is_not_big(epochs):
    assert len(report_html(big(150, epochs=epochs)).encode()) < 1_000_000


def test_layers_of_one_class_stand_together(model):
    figure = report_of("SignalMonitor").figure(model)
    bands = [text.get_text() for text in figure.axes[0].texts]
    assert bands == list(KINDS)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == 30
    assert [label[-7:] for label in labels] == [
        f"stage_{i}" for i in range(10)
    ] * 3
    # The cells have moved with their names.
    first = model.select("*", q.ERROR_RMS, 0, monitor="SignalMonitor").value
    (mesh,) = [x for x in figure.axes[0].collections if x.get_array().ndim == 2]
    expected = np.concatenate([first[i::3] for i in range(3)])
    np.testing.assert_allclose(mesh.get_array()[:, 0], expected)


def test_penalties_of_a_big_model_are_summed_by_block(model):
    figure = report_of("PenaltyReporter").figure(model)
    legend = figure.axes[1].get_legend().get_texts()
    assert len(legend) == 10
    recorded = model.select("*", q.L2, 1).value.sum()
    assert figure.axes[1].dataLim.y1 == pytest.approx(recorded)


ODD = ["US$_net_$/a", "[red]x[/red]", "[/bold]", "a\x1b]0;b\x07", "$\\frac$"]


def test_odd_names_are_shown_as_they_are():
    recording = record(ODD)
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    print_recording(recording, console)
    shown = console.file.getvalue()
    for name in ("[red]x[/red]", "[/bold]", r"a\x1b]0;b\x07", r"$\frac$"):
        assert name in shown
    assert "\x1b]0;" not in shown
    for monitor, figure in plot_recording(recording).items():
        figure.canvas.draw()
        if monitor in ("GradientMonitor", "SignalMonitor"):
            labels = [x.get_text() for x in figure.axes[0].get_yticklabels()]
            assert r"\$\frac\$" in labels


def test_nothing_is_folded_to_the_width_of_a_small_table():
    recording = Recording(monitor="PenaltyReporter")
    for quantity, value in (
        (q.EPOCH_LOSS, 3.9),
        (q.DATA_LOSS, 3.9),
        (q.PENALTY, 0.0),
        (q.PENALTY_SHARE, 0.0),
    ):
        recording.append(0, "", quantity, 0, value)
    shown = text(recording, "PenaltyReporter", 80)
    assert shown == "Epoch 1: loss 3.9 = data 3.9; no penalties\n"
