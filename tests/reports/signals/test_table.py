import io

import numpy as np
import pytest
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import print_signals, signal_table
from keras_concepts.reports.signals.measurements import (
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
            "a": {
                q.ERROR_RMS: 1e-6,
                q.ZERO_ACTIVATION_UNITS: 3,
                q.ZERO_SHARE: 0.5,
            },
            "b": {q.ERROR_RMS: 1e-3, q.SATURATED_UNITS: 7},
            "c": {q.ERROR_RMS: 1.0, q.ACTIVATION_MEAN: -0.0123},
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
    assert title == "Epoch 2: step 20, loss of the probe 0.5"


def test_table_shows_the_last_measurement_of_the_last_run(
    record_signals, joined
):
    first = record_signals({"a": {q.ERROR_RMS: 1.0}})
    last = record_signals(
        {"a": {q.ERROR_RMS: 2.0}}, measured=1, first_step=30, run=1
    )
    both = joined(last, first)
    assert _cells(both)["a"][5] == "2.0e+00"
    assert str(signal_table(both).title).startswith("Before training: step 30")


def test_recurrent_layers_have_a_memory_and_a_gate(record_signals):
    recording = record_signals(
        {
            "lstm": {q.MEMORY_HORIZON: 23, q.FORGET_GATE_MEAN: 0.731},
            "gru": {q.MEMORY_HORIZON: 8, q.UPDATE_GATE_MEAN: 0.5},
            "dense": {},
        }
    )
    table = _cells(recording)
    assert table["lstm"][-2:] == ["23", "0.73"]
    assert table["gru"][-2:] == ["8", "0.50"]
    assert table["dense"][-1] == "1"  # over itself
    text = " ".join(_text(recording).split())
    assert "more than 1 % of the error reaches" in text


def test_without_errors_there_is_no_bar(record_signals):
    recording = record_signals({"a": {}}, errors=False, measured=1)
    assert _cells(recording)["a"] == ["0.25", "0.5", "0%", "0/64", "0/64"]
    assert str(signal_table(recording).title) == "Before training: step 0"
    assert "Error" not in _text(recording)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nonfinite_values_are_shown(record_signals, value):
    names = q.ERROR_RMS, q.ACTIVATION_MEAN, q.ACTIVATION_STD
    recording = record_signals({"a": dict.fromkeys(names, value), "b": {}})
    cells = _cells(recording)["a"]
    assert cells[:2] == [str(value)] * 2
    assert cells[5] == str(value)
    assert _cells(recording)["b"][6] == "█" * 9


def test_without_an_error_there_is_no_share_of_it(record_signals):
    layers = {"a": {q.ERROR_RMS: 0.0}, "b": {q.ERROR_RMS: 0.0}}
    recording = record_signals(layers)
    assert _cells(recording)["a"][5:] == ["0", "-"]
    reason = "undefined, since the error of the last layer is exactly 0"
    assert reason in " ".join(_text(recording).split())


@pytest.mark.parametrize("width", [60, 80, 100])
def test_table_fits_and_keeps_names(record_signals, width):
    number = -1.2345e-13
    layer = {q.ACTIVATION_MEAN: number, q.ERROR_RMS: -number}
    layer |= {q.UNITS: 1024, q.ZERO_ACTIVATION_UNITS: 1000}
    layer |= {q.SATURATED_UNITS: 1000}
    layer |= {q.MEMORY_HORIZON: 1000, q.FORGET_GATE_MEAN: 0.5}
    names = [f"encoder_{i}/bidirectional/forward_lstm" for i in "12"]
    lines = _text(record_signals(dict.fromkeys(names, layer)), width)
    found = [line for line in lines.splitlines() if "1000/1024" in line]
    assert len(found) == len({line.split()[0] for line in found}) == 2
    for line in found:
        assert len(line) <= width
        assert len(line.split()[0]) >= 8
        assert line.split()[-2:] == ["1000", "0.50"]
        assert "…" not in line
    if width == 100:
        assert found[0].split()[1:3] == ["-1.2e-13", "0.5"]


def test_rows_of_other_monitors_are_left_out(
    record_signals, record, stack, joined
):
    gradients = record(
        {"a/kernel": [1.0] * 20},
        whole_model={q.BATCH_LOSS: np.full(20, 9.0)},
    )
    gradients.append(1, "model/a", q.UNITS, 20, 32)
    gradients.append(1, "model/a", q.ZERO_GRADIENT_UNITS, 20, 31)
    for both in (joined(gradients, stack), joined(stack, gradients)):
        assert _text(both) == _text(stack)


def test_several_runs_in_one_file(record_signals, joined):
    first = record_signals({"a": {q.ERROR_RMS: 1.0}})
    second = record_signals(
        {"a": {q.ERROR_RMS: 2.0}}, first_step=21, measured=4, run=1
    )
    found = measurements(joined(second, first))
    assert [m.step for m in found] == [0, 10, 20, 21, 31, 41, 51]
    labels = ["start", "1", "2", "start", "1", "2", "3"]
    assert [m.when for m in found] == labels
    errors = over_epochs(found, ["model/a"], q.ERROR_RMS).values
    assert errors.tolist() == [[1.0] * 3 + [2.0] * 4]


def test_only_a_measurement_before_the_first_epoch_is_the_start(
    record_signals, joined
):
    first = record_signals({"a": {}})
    second, third = (Recording(monitor="SignalMonitor") for _ in range(2))
    second.run, third.run = 1, 2
    for epoch, step in ((2, 30), (-1, 20)):  # goes on with epoch 2
        second.append(epoch, "model/a", q.ACTIVATION_STD, step, 0.5)
    third.append(4, "model/a", q.ACTIVATION_STD, 50, 0.5)
    found = measurements(joined(third, second, first))
    assert [m.when for m in found] == ["start", "1", "2", "start", "3", "5"]
    assert [m.step for m in found] == [0, 10, 20, 20, 30, 50]


def test_labels_of_every_second_epoch(record_signals):
    found = measurements(record_signals({"a": {}}, measured=4, every=2))
    assert [m.when for m in found] == ["start", "2", "4", "6"]


def test_lags_of_probes_of_two_lengths(record_signals, joined):
    short = record_signals({"a": {q.STATE_ERROR_RMS: [4, 2]}}, measured=1)
    long = record_signals(
        {"a": {q.STATE_ERROR_RMS: [8, np.nan, 1]}}, measured=1, run=1
    )
    shown = over_lags(measurements(joined(short, long)), "model/a")
    np.testing.assert_array_equal(
        shown.values, [[4, 8], [2, np.nan], [np.nan, 1]]
    )
    assert shown.nonfinite.tolist() == [
        [False, False],
        [False, True],
        [False, False],
    ]


def test_lags_stand_at_their_index_whatever_the_order():
    recording = Recording(monitor="SignalMonitor")
    recording.append(
        -1, "lstm", q.STATE_ERROR_RMS, 0, [1.0, 4.0, 2.0], index=[2, 0, 1]
    )
    (column,) = over_lags(measurements(recording), "lstm").values.T
    assert column.tolist() == [4.0, 2.0, 1.0]


def test_layers_of_the_order_of_the_calls(record_signals):
    recording = record_signals({name: {} for name in ("z", "b", "a")})
    table = _text(recording)
    assert table.index("\nz ") < table.index("\nb ") < table.index("\na ")


def test_empty_recording_is_one_sentence(record):
    sentence = "No signals have been recorded yet.\n"
    assert _text(Recording()) == sentence
    assert _text(record({"a/kernel": [1.0]})) == sentence
    assert signal_table(Recording()).row_count == 0
