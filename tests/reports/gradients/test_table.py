import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts.recording import Recording
from keras_concepts.reports.table import gradient_table, print_gradients


def _text(recording, width=80, encoding="utf-8", **options):
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_gradients(recording, Console(file=file, width=width), **options)
    file.seek(0)
    return file.read()


def _lines(recording, **options):
    """Cells of each line, by layer."""
    text = _text(recording, width=120, **options)
    rows = [line.split() for line in text.splitlines() if line.strip()]
    # Reversed: the caption's lines must not replace a layer's.
    return {row[0]: row[1:] for row in reversed(rows)}


def test_gradients_bars_and_shares(decades):
    lines = _lines(decades)
    assert lines["a"] == ["1.0e-06", "█" * 3, "1e-06"]
    assert lines["b"] == ["1.0e-03", "█" * 6, "0.001"]
    assert lines["c"] == ["1.0e+00", "█" * 9, "1"]


def test_bar_shows_eighths_of_a_decade(record):
    recording = record({"a/kernel": [10**-0.5], "b/kernel": [1.0]})
    assert _lines(recording)["a"][1] == "█" * 8 + "▌"


def test_medians_of_the_last_epoch_only(record):
    rms = [9.0] * 5 + [1.0, 2.0, 8.0, 2.0, 3.0]
    lines = _lines(record({"a/kernel": rms}, steps_per_epoch=5))
    assert lines["a"][0] == "2.0e+00"


def test_weights_updates_and_units():
    recording = Recording()
    steps = np.arange(4)
    applied = np.array([1, 0, 0, 1])
    recording.append(0, "", "applied", steps, applied)
    for layer in ("a", "b"):
        for name in ("kernel", "bias"):
            path = f"m/{layer}/{name}"
            recording.append(0, path, "gradient_rms", steps, np.ones(4))
            recording.append(0, path, "weight_rms", steps, [0.5, 9, 9, 0.25])
            recording.append(
                0, path, "update_rms", steps, 0.001 * np.array([1, 99, 99, 2])
            )
    recording.append(0, "m/a", "units", 3, 32)
    recording.append(0, "m/a", "dead_units", 3, 4)
    lines = _lines(recording)
    # Of the applied steps: 0.002 and 0.008.
    assert lines["a"][3:] == ["4.75", "5.0e-03", "4/32"]
    assert lines["b"][3:] == ["4.75", "5.0e-03"]
    every = _lines(recording, every_variable=True)
    assert every["a/kernel"][-1] == "4/32"
    assert every["a/bias"][-1] == "5.0e-03"


def test_zero_weights_have_no_update_ratio(record):
    recording = record({"a/kernel": [1.0]})
    recording.append(0, "model/a/kernel", "weight_rms", 0, 0.0)
    recording.append(0, "model/a/kernel", "update_rms", 0, 0.1)
    assert _lines(recording)["a"][3:] == ["0", "-"]


def test_nonfinite_values_are_shown(record):
    recording = record(
        {
            "ok/kernel": [2.0, 2.0],
            "some/kernel": [1.0, np.nan],
            "nan/kernel": [np.inf, np.nan],
            "inf/kernel": [np.inf, np.inf],
            "zero/kernel": [0.0, 0.0],
        },
        whole_model={"loss": np.array([3.0, np.nan])},
    )
    lines = _lines(recording)
    assert lines["some"] == ["1.0e+00", "█" * 8 + "▊", "-", "1"]
    assert lines["nan"] == ["nan", "-", "2"]
    assert lines["inf"] == ["inf", "-", "2"]
    assert lines["zero"] == ["0", "-", "0"]
    text = _text(recording).replace("  \n", " ")
    assert "loss 3 (not finite: 1 step)" in text
    assert "Every gradient was finite" not in text


def test_nan_weights_are_not_hidden(record):
    recording = record({"a/kernel": [np.nan]})
    recording.append(0, "model/a/kernel", "weight_rms", 0, np.nan)
    recording.append(0, "model/a/kernel", "update_rms", 0, np.nan)
    assert _lines(recording)["a"] == ["nan", "nan", "1", "nan", "nan"]


def test_variable_without_gradient(decades):
    decades.append(1, "model/d/x", "gradient_rms", [10, 11], [np.nan] * 2)
    decades.append(1, "model/d/x", "gradient_nonfinite", [10, 11], [np.nan] * 2)
    assert _lines(decades)["d"] == ["none", "-"]


def test_title_tells_epoch_steps_loss_and_norm(record):
    recording = record(
        {"a/kernel": np.ones(8)},
        steps_per_epoch=5,
        whole_model={
            "loss": np.arange(8.0),
            "gradient_norm": np.arange(8.0) * 10,
        },
    )
    title = gradient_table(recording).title
    assert str(title) == "Epoch 1 (from 0): 3 steps, loss 6, gradient norm 60"


@pytest.mark.parametrize("width", [80, 66])
def test_long_names_lose_their_middle(record, width):
    names = [f"encoder_block_{i}/self_attention/query_projection" for i in "12"]
    recording = record({f"{name}/kernel": [np.nan, 1.0] for name in names})
    for name in names:
        path = f"model/{name}/kernel"
        recording.append(0, path, "weight_rms", 0, 0.123)
        recording.append(0, path, "update_rms", 0, 0.1)
        recording.append(0, f"model/{name}", "units", 0, 1024)
        recording.append(0, f"model/{name}", "dead_units", 0, 1000)
    lines = _text(recording, width).splitlines()
    assert max(map(len, lines)) <= width
    cut = [line.split() for line in lines if "1000/1024" in line]
    assert len(cut) == 2
    for name, *cells in cut:
        assert name[0] == "e"
        assert name[-1] == "n"
        assert "." in name
        assert cells[3:] == ["1", "0.123", "8.1e-01", "1000/1024"]
    assert names[0] in _text(recording, width=200)


def test_names_are_no_markup(record):
    recording = record({"[red]a[/]/kernel": [1.0], "b/kernel": [1.0]})
    assert "[red]a[/]" in _text(recording, every_variable=True)


def test_terminal_without_blocks_gets_signs_it_knows(decades):
    text = _text(decades, encoding="ascii")
    assert "#" * 9 in text
    assert "#" * 10 not in text


def test_empty_recording_is_one_sentence():
    assert _text(Recording()) == "No gradients have been recorded yet.\n"
    assert gradient_table(Recording()).row_count == 0


def test_recording_without_gradients():
    recording = Recording()
    recording.append(0, "", "loss", [0, 1], [1.0, 2.0])
    assert _text(recording) == "No gradients have been recorded yet.\n"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_all_layers_alike(record, value):
    lines = _lines(record({"a/kernel": [value] * 3, "b/kernel": [value] * 3}))
    assert lines["a"] == lines["b"]
    assert lines["a"][0] == f"{value:g}"
