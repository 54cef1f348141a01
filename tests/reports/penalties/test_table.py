import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import plot_penalties, print_penalties
from keras_concepts.reports.penalties.parts import loss_parts


@pytest.fixture
def mixed(record_penalties):
    return record_penalties(
        {
            ("", q.PENALTY): 0.75,
            ("", q.ADDED_LOSS): 0.25,
            ("m/a/kernel", q.L1): 0.5,
            ("m/a/kernel", q.L2): 0.125,
            ("m/a/kernel", q.PENALTY_GRADIENT_NORM): 2.0,
            ("m/a/kernel", q.DATA_GRADIENT_NORM): 4.0,
            ("m/a/kernel", q.DECAY_PULL): 1e-5,
            ("m/a", q.ACTIVITY_PENALTY): 0.125,
            ("m/b", q.ADDED_LOSS): 0.25,
            ("m/b/bias", q.DECAY_PULL): 2e-5,
        }
    )


def _text(recording):
    file = io.StringIO()
    print_penalties(recording, Console(file=file, width=80))
    return file.getvalue()


def test_parts_add_up_to_the_loss(mixed):
    parts = loss_parts(mixed)
    assert parts.epochs == [(0, 0), (0, 1), (0, 2)]
    assert list(parts.whole) == ["data", "penalties", "added"]
    np.testing.assert_allclose(sum(parts.whole.values()), parts.loss)
    assert list(parts.penalties) == ["a/kernel", "a/activity"]
    np.testing.assert_allclose(
        sum(parts.penalties.values()), parts.whole["penalties"]
    )


def test_runs_in_one_file_follow_each_other(mixed, record_penalties, joined):
    second = record_penalties({("", q.PENALTY): 3.0}, 2, run=1, first_step=30)
    parts = loss_parts(joined(second, mixed))
    assert parts.epochs == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    np.testing.assert_allclose(
        parts.whole["penalties"], [0.75, 0.375, 0.1875, 3.0, 1.5]
    )
    text = " ".join(_text(joined(second, mixed)).split())
    assert "Epoch 2: loss 2 = data 0.5 + penalties 1.5;" in text


def test_epochs_of_other_monitors_do_not_count(everything):
    assert len(loss_parts(everything).epochs) == 4


def test_table_of_the_last_epoch(mixed):
    text = _text(mixed)
    lines = {row[0]: row[1:] for row in map(str.split, text.splitlines())}
    assert lines["a/kernel"] == [
        *("0.125", "0.0312", "31.2%", "0.5", "1", "2.5e-06")
    ]
    assert lines["a/activity"] == ["0.0312", "6.2%"]
    assert lines["b/added"] == ["0.0625", "12.5%"]
    assert lines["b/bias"] == ["5.0e-06"]
    sum_ = "loss 0.5 = data 0.25 + penalties 0.1875 + added 0.0625; share"
    assert f"Epoch 3: {sum_}" in " ".join(text.split())


def test_nothing_recorded():
    assert _text(Recording()) == "No parts of a loss have been recorded yet.\n"
    assert plot_penalties(Recording()).get_suptitle().startswith("No parts")


def _stack(axes):
    """Lower and upper edge of each area in the first epoch, by name."""
    return {
        area.get_label(): area.get_paths()[0].get_extents().intervaly
        for area in axes.collections
    }


def test_areas_lie_upon_each_other(mixed):
    left, right = plot_penalties(mixed).axes
    np.testing.assert_allclose(_stack(left)["data"][1], 1.0)
    np.testing.assert_allclose(_stack(left)["added"][1], 2.0)
    np.testing.assert_allclose(_stack(right)["a/kernel"][1], 0.625)
    np.testing.assert_allclose(_stack(right)["a/activity"][1], 0.75)


def test_negative_parts_hang_below_zero(record_penalties):
    rows = {("", q.DATA_LOSS): -2.0, ("", q.PENALTY): 1.0, ("k", q.L1): 1.0}
    left, _ = plot_penalties(record_penalties(rows)).axes
    np.testing.assert_allclose(_stack(left)["data"], [-2.0, 0.0])
    np.testing.assert_allclose(_stack(left)["penalties"], [0.0, 1.0])
    assert left.get_ylim()[0] <= -2.0


def test_many_layers_and_no_text_upon_another(record_penalties):
    rows = {("", q.PENALTY): 40.0}
    rows |= {
        (f"m/a_layer_with_quite_a_long_name_{i}/kernel", q.L2): 0.1 * (i + 1)
        for i in range(40)
    }
    figure = plot_penalties(record_penalties(rows, epochs=300))
    assert len(figure.axes[1].collections) == 16
    assert "25 smaller ones" in _stack(figure.axes[1])
    figure.canvas.draw()
    boxes = [
        text.get_window_extent()
        for axes in figure.axes
        for text in [
            *axes.get_xticklabels(),
            *axes.get_legend().get_texts(),
            axes.title,
        ]
        if text.get_text()
    ]
    for i, box in enumerate(boxes):
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])
