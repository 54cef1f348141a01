import sys

import numpy as np
import pytest

from keras_concepts.recording import Recording
from keras_concepts.reports.tensorboard import (
    TensorBoardWriter,
    write_tensorboard,
)

event_accumulator = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator"
)

PATH = "model/a/kernel"
RMS = np.array([1e-3, 0.1, 0.0, np.nan, 1e-25, 2.5, np.inf, 0.5])


@pytest.fixture
def recording():
    """Eight steps in two epochs of four."""
    recording = Recording()
    for epoch in (0, 1):
        steps = np.arange(4) + 4 * epoch
        recording.append(epoch, "", "gradient_norm", steps, steps / 8)
        recording.append(epoch, PATH, "gradient_rms", steps, RMS[steps])
        recording.append(epoch, "model/a", "units", steps[-1], 16)
        recording.append(epoch, "model/a", "dead_units", steps[-1], 2 + epoch)
        recording.append(epoch, "model/a", "dead_unit", [steps[-1]] * 2, [5, 9])
    return recording


def _read(log_dir):
    everything = {"scalars": 0, "histograms": 0}
    events = event_accumulator.EventAccumulator(str(log_dir), everything)
    return events.Reload()


def _scalars(events, tag):
    return {event.step: event.value for event in events.Scalars(tag)}


def test_scalars_are_the_recording(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    events = _read(tmp_path)
    assert set(events.Tags()["scalars"]) == {
        "gradient_norm",
        f"gradient_rms/{PATH}",
        "dead_units/model/a",
    }
    norms = _scalars(events, "gradient_norm")
    assert norms == {step: step / 8 for step in range(8)}
    rms = _scalars(events, f"gradient_rms/{PATH}")
    assert list(rms) == list(range(8))
    np.testing.assert_array_equal(
        np.float32([*rms.values()]), RMS.astype(np.float32)
    )
    assert _scalars(events, "dead_units/model/a") == {3: 2.0, 7: 3.0}


def test_histograms_count_finite_positive_logs(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    events = _read(tmp_path)
    tag = f"gradient_rms_log10/{PATH}"
    assert events.Tags()["histograms"] == [tag]
    first, second = events.Histograms(tag)
    assert (first.step, second.step) == (3, 7)
    for event, rms in ((first, [1e-3, 0.1]), (second, [1e-25, 2.5, 0.5])):
        histogram, logs = event.histogram_value, np.log10(rms)
        assert histogram.num == sum(histogram.bucket) == len(logs)
        assert histogram.min == pytest.approx(logs.min())
        assert histogram.max == pytest.approx(logs.max())
        assert histogram.sum == pytest.approx(logs.sum())
        # Each value lies in a bucket that is a tenth wide.
        limits = np.array(histogram.bucket_limit)
        filled = limits[np.array(histogram.bucket) > 0]
        assert (filled >= np.sort(logs) - 1e-9).all()
        assert (filled <= np.sort(logs) + 0.1 + 1e-9).all()


def test_epoch_without_a_finite_gradient_has_no_histogram(tmp_path):
    recording = Recording()
    recording.append(0, PATH, "gradient_rms", [0, 1], [np.nan, 0.0])
    write_tensorboard(recording, tmp_path)
    assert _read(tmp_path).Tags()["histograms"] == []


def test_each_write_adds_what_is_new_and_is_readable_at_once(tmp_path):
    recording = Recording()
    writer = TensorBoardWriter(tmp_path / "missing" / "folder")
    for epoch in range(3):
        steps = [2 * epoch, 2 * epoch + 1]
        recording.append(epoch, PATH, "gradient_rms", steps, [0.1, 0.2])
        writer.write(recording)
        events = _read(tmp_path / "missing" / "folder")
        scalars = events.Scalars(f"gradient_rms/{PATH}")
        assert [e.step for e in scalars] == list(range(2 * epoch + 2))
        histograms = events.Histograms(f"gradient_rms_log10/{PATH}")
        assert [e.step for e in histograms] == [
            2 * i + 1 for i in range(epoch + 1)
        ]
    writer.write(recording)
    assert len(_read(writer.log_dir).Scalars(f"gradient_rms/{PATH}")) == 6
    writer.close()
    writer.close()


def test_a_second_writer_leaves_the_first_ones_file(recording, tmp_path):
    write_tensorboard(recording, tmp_path)
    more = Recording()
    more.append(0, "", "gradient_norm", [8, 9], [1.0, 2.0])
    write_tensorboard(more, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    norms = _scalars(_read(tmp_path), "gradient_norm")
    assert list(norms) == list(range(10))


def test_missing_tensorboardx_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"keras-concepts\[tensorboard\]"):
        TensorBoardWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_signals_have_one_value_a_step(record_signals, tmp_path):
    layer = {"saturated_unit": [3, 5], "state_error_rms": [1.0, 0.5]}
    recording = record_signals({"a": layer}, measured=2)
    write_tensorboard(recording, tmp_path)
    events = _read(tmp_path)
    several = {"saturated_unit/model/a", "state_error_rms/model/a"}
    assert several.isdisjoint(events.Tags()["scalars"])
    errors = _scalars(events, "error_rms/model/a")
    assert errors == {0: pytest.approx(0.1), 10: pytest.approx(0.1)}
