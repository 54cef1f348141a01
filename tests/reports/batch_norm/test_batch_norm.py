import io
import re

import numpy as np
import pytest
from rich.console import Console

from keras_concepts.recording import Recording
from keras_concepts.reports import (
    batch_norm_table,
    plot_batch_norms,
    print_batch_norms,
)
from pictures import check_layout


def _lines(recording, width=100):
    console = Console(file=io.StringIO(), width=width)
    print_batch_norms(recording, console)
    rows = map(str.split, console.file.getvalue().splitlines())
    return {row[0]: row[1:] for row in rows if row}


def _legend(figure):
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def _deep(record_shifts, layers, epochs=4):
    random = np.random.default_rng(0)
    shifts = {
        f"stage_{i}/block/batch_normalization": random.normal(size=(2, 4))
        for i in range(layers)
    }
    shifts["stage_5/block/batch_normalization"] = np.full((2, 4), [[9], [0.1]])
    shifts["stage_6/block/batch_normalization"] = np.full((2, 4), [[0.1], [9]])
    return record_shifts(shifts, epochs)


def test_table_of_the_last_epoch(record_shifts):
    recording = record_shifts(
        {"a": ([0.5, -1.5, 2.5], [0.1, 0.2, 3.0]), "b": None}, 2
    )
    row = ["3", "0.75", "0.75", "1.2", "x", "1.1", "90%"]
    assert _lines(recording)["a"] == row
    assert _lines(recording)["b"] == ["frozen"]
    assert str(batch_norm_table(recording).title) == (
        "Epoch 2: worst is a: moving mean 0.75 σ off"
    )


def test_what_is_beyond_a_threshold_stands_out(record_shifts):
    table = batch_norm_table(
        record_shifts({"a": ([1.1], [0.6]), "b": ([0.9], [-0.8])}, 1)
    )
    styles = {
        column.header: [
            str(getattr(cell, "style", "")) for cell in column.cells
        ]
        for column in table.columns
    }
    assert styles["shift"] == ["bold red", ""]
    assert styles["variance"] == ["", "bold red"]


@pytest.mark.parametrize("width", [50, 60])
def test_narrow_table_keeps_the_names(record_shifts, width):
    lines = _lines(_deep(record_shifts, 9), width)
    names = [name for name in lines if re.match(r"stage_\d\S+n$", name)]
    assert len(names) == 9


def test_the_worse_of_mean_and_variance_is_told(record_shifts):
    recording = record_shifts(
        {"a": ([0.5, 0.5], [0.1, 0.1]), "b": ([0.1] * 3, [6.0, -6.0, -6.5])}, 2
    )
    doublings = 3.0 / np.log(2.0)
    row = ["3", f"{doublings:.2g}", "0.05", "0.05", "x", "0.05", "90%"]
    assert _lines(recording)["b"] == row
    assert str(batch_norm_table(recording).title) == (
        "Epoch 2: worst is b: moving variance off by a factor of 20"
    )
    assert plot_batch_norms(recording).get_suptitle() == (
        "Worst is b: moving variance off by a factor of 20\n"
        "The worst layer was off by 8.7 at first and 4.3 at the end, in σ or "
        "factors of 2"
    )


def test_lines_are_layers_over_epochs(record_shifts):
    figure = plot_batch_norms(
        record_shifts({"a": ([2.0], [1.0]), "b": ([1.0], [0.5])}, 3)
    )
    shift, variance, initial = figure.axes
    for axes, first in ((shift, 2.0), (variance, 1.0)):
        np.testing.assert_allclose(
            axes.lines[0].get_ydata(), [first, first / 2, first / 4]
        )
    assert initial.get_title("left").startswith("share of the initial value")
    assert [t.get_text() for t in shift.get_xticklabels()] == ["1", "2", "3"]
    assert _legend(figure) == [
        "a",
        "b",
        "above: inference differs clearly from training",
    ]
    assert any("log 2" in text.get_text() for text in variance.texts)


def test_runs_follow_each_other(everything):
    shift, *_ = plot_batch_norms(everything).axes
    assert [t.get_text() for t in shift.get_xticklabels()] == ["1", "2"] * 2
    np.testing.assert_allclose(
        shift.lines[0].get_ydata(), [17.5, 8.75, 1.75, 0.875]
    )


def test_legend_has_no_entry_without_a_line(record_shifts):
    figure = plot_batch_norms(
        record_shifts({"a": None, "b": ([1.0], [0.5]), "c": None})
    )
    assert _legend(figure)[0] == "b"
    assert len(_legend(figure)) == 2
    frozen = plot_batch_norms(record_shifts({"a": None}))
    assert frozen.get_suptitle() == "All layers are in inference mode"
    frozen.canvas.draw()


def test_of_many_layers_the_worst_are_named(record_shifts):
    figure = plot_batch_norms(_deep(record_shifts, 12))
    labels = _legend(figure)[:-1]
    assert [label[:8] for label in labels] == [
        *("stage_0/", "stage_5/", "stage_6/", "stage_11")
    ]


def test_all_texts_are_inside_and_apart(record_shifts, monkeypatch):
    check_layout(plot_batch_norms(_deep(record_shifts, 40, 30)), monkeypatch)


def test_nothing_recorded():
    sentence = "No batch normalization has been recorded yet."
    assert plot_batch_norms(Recording()).get_suptitle() == sentence
    assert batch_norm_table(Recording()).columns == []
