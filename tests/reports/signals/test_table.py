import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts.recording import Recording
from keras_concepts.reports import print_signals, signal_table
from keras_concepts.reports.measurements import (
    epoch_labels,
    measurements,
    over_epochs,
    over_lags,
)


def _text(recording, width=80):
    file = io.StringIO()
    print_signals(recording, Console(file=file, width=width))
    return file.getvalue()


def _cells(recording, width=120):
    """Cells of each line, by layer."""
    lines = _text(recording, width).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    # Reversed: the caption's lines must not replace a layer's.
    return {row[0]: row[1:] for row in reversed(rows)}


@pytest.fixture
def stack(record_signals):
    return record_signals(
        {
            "a": {"error_rms": 1e-6, "dead_units": 3, "zero_share": 0.5},
            "b": {"error_rms": 1e-3, "saturated_units": 7},
            "c": {"error_rms": 1.0, "activation_mean": -0.0123},
        }
    )


def test_table_of_a_stack(stack):
    table = _cells(stack)
    of_a, of_b, of_c = (table[name] for name in "abc")
    assert of_a[:5] == ["0.25", "0.5", "50%", "3/64", "0/64"]
    assert of_a[5:] == ["1.0e-06", "█" * 3, "1e-06"]
    assert of_b[2:] == ["0%", "0/64", "7/64", "1.0e-03", "█" * 6, "0.001"]
    assert of_c[0] == "-0.012"
    assert of_c[5:] == ["1.0e+00", "█" * 9, "1"]
    title = str(signal_table(stack).title)
    assert title == "Epoch 1 (from 0): step 20, loss of the probe 0.5"


def test_table_shows_the_last_measurement(record_signals):
    recording = record_signals({"a": {"error_rms": 1.0}})
    later = record_signals({"a": {"error_rms": 2.0}}, measured=1, start=30)
    for series in later:
        recording.append(*series)
    assert _cells(recording)["a"][5] == "2.0e+00"


def test_recurrent_layers_have_a_memory_and_a_gate(record_signals):
    recording = record_signals(
        {
            "lstm": {"memory_horizon": 23, "forget_gate_mean": 0.731},
            "gru": {"memory_horizon": 8, "update_gate_mean": 0.5},
            "dense": {},
        }
    )
    table = _cells(recording)
    assert table["lstm"][-2:] == ["23", "0.73"]
    assert table["gru"][-2:] == ["8", "0.50"]
    assert table["dense"][-1] == "1"  # over itself
    text = " ".join(_text(recording).split())
    assert "more than 1 % of the error gets" in text


def test_without_errors_there_is_no_bar(record_signals):
    recording = record_signals({"a": {}}, errors=False, measured=1)
    assert _cells(recording)["a"] == ["0.25", "0.5", "0%", "0/64", "0/64"]
    assert str(signal_table(recording).title) == "Before the training: step 0"
    assert "Error" not in _text(recording)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_values_are_shown(record_signals, value):
    names = "error_rms", "activation_mean", "activation_std"
    recording = record_signals({"a": dict.fromkeys(names, value), "b": {}})
    cells = _cells(recording)["a"]
    assert cells[:2] == [str(value)] * 2
    assert cells[5] == str(value)
    assert _cells(recording)["b"][6] == "█" * 9


def test_zeros_have_no_bar(record_signals):
    layers = {"a": {"error_rms": 0.0}, "b": {"error_rms": 0.0}}
    assert _cells(record_signals(layers))["a"][5:] == ["0", "nan"]


@pytest.mark.parametrize("width", [80, 100])
def test_table_fits(record_signals, width):
    number = -1.2345e-13
    layer = {"activation_mean": number, "error_rms": -number}
    layer |= {"units": 1024, "dead_units": 1000, "saturated_units": 1000}
    layer |= {"memory_horizon": 1000, "forget_gate_mean": 0.5}
    names = [f"encoder_{i}/bidirectional/forward_lstm" for i in "12"]
    lines = _text(record_signals(dict.fromkeys(names, layer)), width)
    found = [line for line in lines.splitlines() if "1000/1024" in line]
    assert len(found) == 2
    for line in found:
        assert len(line) <= width
        assert line.split()[1:3] == ["-1.2e-13", "0.5"]
        assert line.split()[-2:] == ["1000", "0.50"]


def test_rows_of_other_monitors_are_left_out(record_signals, record, stack):
    gradients = record(
        {"a/kernel": [1.0] * 20},
        whole_model={"loss": np.full(20, 9.0), "gradient_norm": np.ones(20)},
    )
    gradients.append(1, "model/a", "units", 20, 32)
    gradients.append(1, "model/a", "dead_units", 20, 31)
    gradients.append(1, "", "loss", 20, 9.0)
    for both in ([*gradients, *stack], [*stack, *gradients]):
        recording = Recording()
        for series in both:
            recording.append(*series)
        assert _text(recording) == _text(stack)


def test_several_trainings_in_one_file(record_signals):
    first = record_signals({"a": {"error_rms": 1.0}})
    second = record_signals({"a": {"error_rms": 2.0}}, start=21, measured=4)
    for series in second:
        first.append(*series)
    found = measurements(first)
    assert [m.step for m in found] == [0, 10, 20, 21, 31, 41, 51]
    labels = ["start", "0", "1", "start", "0", "1", "2"]
    assert epoch_labels(found) == labels
    errors = over_epochs(found, ["model/a"], "error_rms").values
    assert errors.tolist() == [[1.0] * 3 + [2.0] * 4]


def test_labels_after_a_training_that_was_aborted(record_signals):
    recording = record_signals({"a": {}}, measured=1)
    for series in record_signals({"a": {}}, start=7):
        recording.append(*series)
    labels = epoch_labels(measurements(recording))
    assert labels == ["start", "start", "0", "1"]


def test_labels_of_every_second_epoch(record_signals):
    found = measurements(record_signals({"a": {}}, measured=4, every=2))
    assert epoch_labels(found) == ["start", "1", "3", "5"]


def test_lags_of_probes_of_two_lengths(record_signals):
    recording = record_signals({"a": {"state_error_rms": [4, 2]}}, measured=1)
    more = record_signals(
        {"a": {"state_error_rms": [8, np.nan, 1]}}, measured=1, start=9
    )
    for series in more:
        recording.append(*series)
    shown = over_lags(measurements(recording), "model/a")
    np.testing.assert_array_equal(
        shown.values, [[4, 8], [2, np.nan], [np.nan, 1]]
    )
    assert shown.nonfinite.tolist() == [
        [False, False],
        [False, True],
        [False, False],
    ]


def test_layers_of_the_order_of_the_calls(record_signals):
    recording = record_signals({name: {} for name in ("z", "b", "a")})
    table = _text(recording)
    assert table.index("\nz ") < table.index("\nb ") < table.index("\na ")


def test_empty_recording_is_one_sentence(record):
    sentence = "No signals have been recorded yet.\n"
    assert _text(Recording()) == sentence
    assert _text(record({"a/kernel": [1.0]})) == sentence
    assert signal_table(Recording()).row_count == 0
