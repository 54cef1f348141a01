import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts.recording import Recording
from keras_concepts.reports import plot_penalties, print_penalties
from keras_concepts.reports.penalties import loss_parts


def _record(rows, epochs=3, recording=None, start=0):
    """Of `{(layer, quantity): value}`, halved from epoch to epoch."""
    recording = recording or Recording()
    whole = {"data_loss": 1.0, "penalty": 0.0, "added_loss": 0.0}
    whole |= {quantity: v for (layer, quantity), v in rows.items() if not layer}
    whole["loss"] = sum(whole.values())
    whole["penalty_share"] = whole["penalty"] / whole["loss"]
    for epoch in range(epochs):
        step = start + 10 * epoch + 9
        for quantity, value in whole.items():
            recording.append(epoch, "", quantity, step, value * 0.5**epoch)
        for (layer, quantity), value in rows.items():
            if layer:
                recording.append(
                    epoch, layer, quantity, step, value * 0.5**epoch
                )
    return recording


@pytest.fixture
def mixed():
    return _record(
        {
            ("", "penalty"): 0.75,
            ("", "added_loss"): 0.25,
            ("m/a/kernel", "l1"): 0.5,
            ("m/a/kernel", "l2"): 0.125,
            ("m/a/kernel", "penalty_gradient_norm"): 2.0,
            ("m/a/kernel", "data_gradient_norm"): 4.0,
            ("m/a/kernel", "decay_pull"): 1e-5,
            ("m/a", "activity_penalty"): 0.125,
            ("m/b", "added_loss"): 0.25,
            ("m/b/bias", "decay_pull"): 2e-5,
        }
    )


def _text(recording):
    file = io.StringIO()
    print_penalties(recording, Console(file=file, width=80))
    return file.getvalue()


def test_parts_add_up_to_the_loss(mixed):
    parts = loss_parts(mixed)
    assert parts.epochs.tolist() == [0, 1, 2]
    assert list(parts.whole) == ["data", "penalties", "added"]
    np.testing.assert_allclose(sum(parts.whole.values()), parts.loss)
    assert list(parts.penalties) == ["a/kernel", "a/activity"]
    np.testing.assert_allclose(
        sum(parts.penalties.values()), parts.whole["penalties"]
    )


def test_trainings_in_one_file_follow_each_other(mixed):
    both = _record({("", "penalty"): 3.0}, 2, recording=mixed, start=30)
    parts = loss_parts(both)
    assert parts.epochs.tolist() == [0, 1, 2, 0, 1]
    np.testing.assert_allclose(
        parts.whole["penalties"], [0.75, 0.375, 0.1875, 3.0, 1.5]
    )


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
    assert f"Epoch 2 (from 0): {sum_}" in " ".join(text.split())


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


def test_negative_parts_hang_below_zero():
    rows = {("", "data_loss"): -2.0, ("", "penalty"): 1.0, ("k", "l1"): 1.0}
    left, _ = plot_penalties(_record(rows)).axes
    np.testing.assert_allclose(_stack(left)["data"], [-2.0, 0.0])
    np.testing.assert_allclose(_stack(left)["penalties"], [0.0, 1.0])
    assert left.get_ylim()[0] <= -2.0


def test_many_layers_and_no_text_upon_another():
    rows = {("", "penalty"): 40.0}
    rows |= {
        (f"m/a_layer_with_quite_a_long_name_{i}/kernel", "l2"): 0.1 * (i + 1)
        for i in range(40)
    }
    figure = plot_penalties(_record(rows, epochs=300))
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
