import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import (
    gradient_table,
    plot_gradients,
    print_gradients,
)


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


def test_steps_of_which_none_was_measured():
    recording = Recording(monitor="GradientMonitor")
    recording.append(0, "a/kernel", q.GRADIENT_RMS, [], [])
    assert "No gradients" in _text(recording)
    assert plot_gradients(recording).get_size_inches()[0] > 0


def test_bar_shows_eighths_of_a_decade(record):
    recording = record({"a/kernel": [10**-0.5], "b/kernel": [1.0]})
    assert _lines(recording)["a"][1] == "█" * 8 + "▌"


def test_medians_of_the_last_epoch_only(record):
    rms = [9.0] * 5 + [1.0, 2.0, 8.0, 2.0, 3.0]
    lines = _lines(record({"a/kernel": rms}, steps_per_epoch=5))
    assert lines["a"][0] == "2.0e+00"


def test_weights_updates_and_units():
    recording = Recording(monitor="GradientMonitor")
    steps = np.arange(4)
    applied = np.array([1, 0, 0, 1])
    recording.append(0, "", q.APPLIED, steps, applied)
    for layer in ("a", "b"):
        for name in ("kernel", "bias"):
            path = f"m/{layer}/{name}"
            recording.append(0, path, q.GRADIENT_RMS, steps, np.ones(4))
            recording.append(0, path, q.WEIGHT_RMS, steps, [0.5, 9, 9, 0.25])
            recording.append(
                0, path, q.UPDATE_RMS, steps, 0.001 * np.array([1, 99, 99, 2])
            )
    recording.append(0, "m/a", q.UNITS, 3, 32)
    recording.append(0, "m/a", q.ZERO_GRADIENT_UNITS, 3, 4)
    lines = _lines(recording)
    # Of the applied steps: 0.002 and 0.008.
    assert lines["a"][3:] == ["4.75", "5.0e-03", "4/32"]
    assert lines["b"][3:] == ["4.75", "5.0e-03"]
    every = _lines(recording, every_variable=True)
    assert every["a/kernel"][-1] == "4/32"
    assert every["a/bias"][-1] == "5.0e-03"


def test_zero_weights_have_no_update_ratio(record):
    recording = record({"a/kernel": [1.0]})
    recording.append(0, "model/a/kernel", q.WEIGHT_RMS, 0, 0.0)
    recording.append(0, "model/a/kernel", q.UPDATE_RMS, 0, 0.1)
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
        whole_model={q.BATCH_LOSS: np.array([3.0, np.nan])},
    )
    lines = _lines(recording)
    assert lines["some"] == ["1.0e+00", "█" * 8 + "▊", "-", "1"]
    assert lines["nan"] == ["nan", "-", "2"]
    assert lines["inf"] == ["inf", "-", "2"]
    assert lines["zero"] == ["0", "-", "0"]
    text = " ".join(_text(recording).split())
    assert "loss 3 (not finite: 1 step)" in text
    assert "Every gradient was finite" not in text


def test_nan_weights_are_not_hidden(record):
    recording = record({"a/kernel": [np.nan]})
    recording.append(0, "model/a/kernel", q.WEIGHT_RMS, 0, np.nan)
    recording.append(0, "model/a/kernel", q.UPDATE_RMS, 0, np.nan)
    assert _lines(recording)["a"] == ["nan", "nan", "1", "nan", "nan"]


def test_variable_without_gradient(decades):
    decades.append(1, "model/d/x", q.GRADIENT_RMS, [10, 11], [np.nan] * 2)
    decades.append(1, "model/d/x", q.GRADIENT_NONFINITE, [10, 11], [np.nan] * 2)
    assert _lines(decades)["d"] == ["none", "-"]


def test_title_tells_epoch_steps_loss_and_norm(record):
    recording = record(
        {"a/kernel": np.ones(8)},
        steps_per_epoch=5,
        whole_model={
            q.BATCH_LOSS: np.arange(8.0),
            q.GRADIENT_NORM: np.arange(8.0) * 10,
        },
    )
    title = gradient_table(recording).title
    assert str(title) == "Epoch 2: 3 steps, loss 6, gradient norm 60"


def _wide(record, names):
    recording = record({f"{name}/kernel": [np.nan, 1.0] for name in names})
    for name in names:
        path = f"model/{name}/kernel"
        recording.append(0, path, q.WEIGHT_RMS, 0, 0.123)
        recording.append(0, path, q.UPDATE_RMS, 0, 0.1)
        recording.append(0, f"model/{name}", q.UNITS, 0, 1024)
        recording.append(0, f"model/{name}", q.ZERO_GRADIENT_UNITS, 0, 1000)
    return recording


def test_long_names_lose_their_middle(record):
    names = [f"encoder_block_{i}/self_attention/query_projection" for i in "12"]
    recording = _wide(record, names)
    lines = _text(recording, 80).splitlines()
    assert max(map(len, lines)) <= 80
    cut = [line.split() for line in lines if "1000/1024" in line]
    assert len(cut) == 2
    assert cut[0][0] != cut[1][0]
    for name, *cells in cut:
        assert name.startswith("block_")
        assert "." in name
        assert cells[-4:] == ["1", "0.123", "8.1e-01", "1000/1024"]
    assert names[0] in _text(recording, width=200)


@pytest.mark.parametrize("width", [60, 50])
def test_narrow_tables_leave_out_columns_not_names(record, width):
    names = [f"encoder_block_{i}/self_attention/query" for i in range(12)]
    text = _text(_wide(record, names), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if "1000/1024" in line]
    assert len({row[0] for row in rows}) == 12
    assert min(len(row[0]) for row in rows) >= 10
    assert "…" not in text
    assert "█" not in text
    assert "Each block" not in text
    assert "Left out for lack of space: RMS weight" in " ".join(text.split())


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
    recording = Recording(monitor="GradientMonitor")
    recording.append(0, "", q.BATCH_LOSS, [0, 1], [1.0, 2.0])
    assert _text(recording) == "No gradients have been recorded yet.\n"


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_all_layers_alike(record, value):
    lines = _lines(record({"a/kernel": [value] * 3, "b/kernel": [value] * 3}))
    assert lines["a"] == lines["b"]
    assert lines["a"][0] == f"{value:g}"
