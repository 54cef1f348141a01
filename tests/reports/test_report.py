"""The one interface, on a file with all monitors and two runs."""

import base64
import importlib.util
import io
import re
import sys

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgba
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts import reports
from keras_concepts._figures import new_figure
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.dark import darken
from keras_concepts.rules import Evidence, Measured

MONITORS = [c.monitor for c in q.CONCEPTS if c.monitor != q.FIT]


@pytest.fixture(autouse=True)
def rules(judged_by):
    """One that finds the same in each run."""
    spread = Measured(q.PREDICTION_SPREAD.label, 0.0, 0.01)
    advice = "Scale the inputs."
    evidence = Evidence("", (1, 40), (spread,), advice)
    judged_by({"name": "constant_predictions", "evidence": evidence})


def _printed(print_to, *args):
    console = Console(file=io.StringIO(), width=100)
    print_to(*args, console)
    return console.file.getvalue()


def _rows(text):
    lines = (line.split() for line in text.splitlines() if line.strip())
    return {row[0]: row[1:] for row in lines}


@pytest.mark.parametrize("monitor", MONITORS)
def test_every_monitor_has_a_report(monitor, everything):
    report = reports.report_of(monitor)
    console = Console(file=io.StringIO(), width=100)
    report.print(Recording(), console)
    assert console.file.getvalue() == f"{report.empty}\n"
    assert report.figure(Recording()).get_suptitle() == report.empty
    assert report.html(Recording()) == f"<p>{report.empty}</p>"
    assert report.figure(everything, "Mine").get_suptitle() == "Mine"


# Of the second run in `conftest.py`, after its second epoch.
_EXPECTED = {
    "GradientMonitor": (
        "Epoch 2: 10 steps, loss 9, gradient norm 1",
        {
            "a": ["1.0e-04", "█" * 5, "0.0001"],
            "out": ["1.0e+00", "█" * 9, "1"],
        },
    ),
    "SignalMonitor": (
        "Epoch 2: step 40, loss of the probe 0.5",
        {
            "lstm": [
                *("0.25", "0.5", "0%", "0/64", "0/64", "1.0e-02", "████"),
                *("0.01", "7", "0.73"),
            ],
        },
    ),
    "PenaltyReporter": (
        "Epoch 2: loss 0.75 = data 0.5 + penalties 0.25; share of penalties "
        "33.3%",
        {"a": ["0.125", "16.7%"], "out": ["0.125", "16.7%"]},
    ),
    "BatchNormShiftMonitor": (
        "Epoch 2: worst is bn: moving mean 0.88 σ off; loss with batch "
        "statistics 0.5, at inference 0.75",
        {
            "bn": ["2", "0.88", "0.88", "1.5", "x", "1.7", "90%"],
            "frozen": ["frozen"],
        },
    ),
    "NonFiniteGuard": (
        "First non-finite value at step 33 (epoch 2, batch 4): 3 NaN or "
        "infinite entries in the gradient of `model/out/kernel`.",
        {"1": ["10", "0", "9"], "2": ["10", "0", "8"]},
    ),
    "TrainingDoctor": (
        "1 problem found in 2 epochs. 1. Warning: constant_predictions, since "
        "epoch 2 Why It matters. Measured spread of predictions 0 (threshold "
        "0.01) Change Scale the inputs.",
        {"Change": ["Scale", "the", "inputs."]},
    ),
}


@pytest.mark.parametrize("monitor", MONITORS)
def test_tables_show_the_last_epoch_of_the_last_run(monitor, everything):
    title, rows = _EXPECTED[monitor]
    report = reports.report_of(monitor)
    text = _printed(report.print, everything)
    assert " ".join(text.split()).startswith(title)
    found = _rows(text)
    assert {name: found[name] for name in rows} == rows


@pytest.mark.parametrize("monitor", MONITORS)
def test_a_loaded_file_is_shown_alike(monitor, everything, tmp_path):
    path = tmp_path / "runs.jsonl"
    for run in (0, 1):
        file = Recording(path, monitor="GradientMonitor")
        for s in everything.select(run=run):
            file.append(
                *(s.epoch, s.owner, s.quantity, s.steps, s.values),
                index=s.index,
                monitor=s.monitor,
            )
        file.flush()
    loaded = Recording.load(path)
    report = reports.report_of(monitor)
    assert _printed(report.print, loaded) == _printed(report.print, everything)


def test_all_tables_and_figures_of_a_recording(everything):
    text = _printed(reports.print_recording, everything)
    for monitor in MONITORS:
        assert f"{monitor} ─" in text
    figures = reports.plot_recording(everything)
    assert sorted(figures) == sorted(MONITORS)
    for figure in figures.values():
        figure.canvas.draw()
    nothing = _printed(reports.print_recording, Recording())
    assert nothing == "Nothing has been recorded yet.\n"


def test_a_single_monitor_has_no_heading(decades):
    text = _printed(reports.print_recording, decades)
    assert text.startswith("Epoch 2: ")


def test_two_monitors_of_a_kind_are_told_apart(record, joined):
    names = ["GradientMonitor", "GradientMonitor (2)"]
    both = joined(
        *(
            record({"a/kernel": [value]}, monitor=name)
            for name, value in zip(names, (1.0, 2.0), strict=True)
        )
    )
    first, second = (
        _rows(_printed(reports.report_of(name).print, both)) for name in names
    )
    assert first["a"][0] == "1.0e+00"
    assert second["a"][0] == "2.0e+00"
    figures = reports.plot_recording(both)
    assert list(figures) == names
    assert figures[names[1]].axes[0].collections[0].get_array() == 2.0
    alone = both.select(monitor="* (2)")
    assert "2.0e+00" in _printed(reports.print_gradients, alone)


@pytest.mark.parametrize("name", ["", "MyMonitor"])
def test_rows_of_no_known_monitor_are_shown(name):
    recording = Recording(monitor=name)
    recording.append(0, "a/kernel", q.GRADIENT_RMS, [0, 1], [0.5, 0.5])
    assert "5.0e-01" in _printed(reports.print_gradients, recording)
    recording.append(0, "", q.BATCH_LOSS, [0, 1], [0.5, 0.5])
    recording.append(0, "a", "user/mine", 0, 1.0)
    text = _printed(reports.print_recording, recording)
    assert text == _printed(reports.print_gradients, recording)
    assert list(reports.plot_recording(recording)) == ["GradientMonitor"]


def test_monitors_without_a_report_are_named(decades, everything):
    mine = Recording(monitor="MyMonitor")
    mine.append(0, "a", "user/mine", 0, 1.0)
    sentence = "No report is available for: `MyMonitor`.\n"
    assert _printed(reports.print_recording, mine) == sentence
    before = _printed(reports.print_recording, decades)
    decades.append(0, "a", "user/mine", 0, 1.0, monitor="MyMonitor")
    after = _printed(reports.print_recording, decades)
    assert after == before + sentence
    mine.append(0, "a", "user/mine", 0, 1.0, monitor="")
    text = _printed(reports.print_recording, mine)
    assert text == sentence.replace(".", ", rows without a monitor.")
    assert "No report" not in _printed(reports.print_recording, everything)


def test_rows_of_two_concepts_without_a_monitor_are_all_shown(
    record, record_checks, joined
):
    both = Recording()
    for s in joined(record({"a/kernel": [0.5]}), record_checks([0.25])):
        both.append(s.epoch, s.owner, s.quantity, s.steps, s.values)
    text = _printed(reports.print_recording, both)
    assert "GradientMonitor ─" in text
    assert "NonFiniteGuard ─" in text
    assert "5.0e-01" in text
    assert "0.25" in text


def test_unknown_monitors_are_named(decades):
    for name in ("fit", "MyMonitor"):
        with pytest.raises(ValueError, match="must be one of"):
            reports.report_of(name)
    decades.append(0, "a", "user/mine", 0, 1.0, monitor="MyMonitor")
    assert list(reports.plot_recording(decades)) == ["GradientMonitor"]


def test_html_is_the_table_and_a_picture(decades):
    html = reports.report_of("GradientMonitor").html(decades)
    table, picture = html.split("<img ")
    assert table.startswith("<pre")
    assert "1.0e-06" in table
    assert re.search(r"color: #[0-9a-f]{6}", table)
    for form, is_dark in (
        (r'src="{}">', False),
        (r"--kc-dark: url\({}\)", True),
    ):
        form = form.format(r"data:image/png;base64,([\w+/=]+)")
        data = base64.b64decode(re.search(form, picture)[1])
        assert data.startswith(b"\x89PNG")
        corner = pyplot.imread(io.BytesIO(data))[2, 2, :3]
        assert (corner.max() < 0.1) == is_dark


def test_what_is_transparent_stays_so_in_the_dark():
    figure = new_figure(2.0, 2.0)
    [bar] = figure.subplots().bar([1], [1], alpha=0.9)
    darken(figure)
    assert to_rgba(bar.get_edgecolor())[3] == 0.0


def test_html_without_matplotlib_is_the_table(decades, monkeypatch):
    find_spec = importlib.util.find_spec

    def without(name, *args):
        return None if name == "matplotlib" else find_spec(name, *args)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    html = reports.report_of("GradientMonitor").html(decades)
    assert html.startswith("<pre")
    assert "<img" not in html


def test_no_sentence_counts_epochs_from_0(everything):
    text = _printed(reports.print_recording, everything)
    assert "from 0" not in text
    assert "Epoch 0" not in text
    for figure in reports.plot_recording(everything).values():
        for axes in figure.axes:
            ticks = [axes, *axes.child_axes]
            epochs = [a for a in ticks if a.get_xlabel() == "epoch"]
            for axis in epochs:
                labels = [t.get_text() for t in axis.get_xticklabels()]
                assert "0" not in labels
                assert labels[-1] == "2"
