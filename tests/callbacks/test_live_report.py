import warnings

import keras
import numpy as np
import pytest

from keras_concepts.callbacks import TrainingDoctor
from keras_concepts.callbacks._live_report import LiveReport


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def written_at(share, cost, epochs, length):
    """When a report of this cost is written after epochs of this length."""
    clock, times, refreshes = Clock(), [], []

    def write(refresh):
        times.append(clock.now)
        refreshes.append(refresh)
        clock.now += cost

    live = LiveReport(write, share, clock)
    for _ in range(epochs):
        clock.now += length
        live.update()
    return times, refreshes, clock.now


def test_writing_keeps_its_share_of_the_budget():
    times, refreshes, end = written_at(0.1, 0.5, 1000, 1.0)
    assert times[0] == 40.0  # the first is taken to last a second
    assert 0.5 * len(times) <= 0.025 * end
    assert len(times) > 40
    assert min(refreshes) >= 10


def test_long_epochs_are_all_written():
    times, refreshes, _ = written_at(0.1, 0.5, 5, 60.0)
    assert len(times) == 5
    assert refreshes == [60] * 5


def test_without_a_budget_every_epoch_is_written():
    times, _, _ = written_at(None, 5.0, 7, 0.1)
    assert len(times) == 7


def test_what_is_slow_is_written_at_the_end_alone():
    clock, said = Clock(), []
    live = LiveReport(said.append, 0.1, clock)
    live.update()
    live.finish()
    assert said == [None]


def _fit(doctor, epochs=3):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.eye(4, dtype="float32")
    return model.fit(
        *(x, x[:, :1]), verbose=0, epochs=epochs, callbacks=[doctor]
    )


@pytest.fixture
def needs():
    _ = pytest.importorskip("jinja2")
    _ = pytest.importorskip("matplotlib")


def test_the_doctor_writes_while_it_watches(needs, tmp_path):
    path = tmp_path / "report.html"
    seen = []

    class Look(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append(path.exists() and path.read_text(encoding="utf-8"))

    doctor = TrainingDoctor(
        report_to=path, time_budget=None, on_finding=lambda finding: None
    )
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    x = np.eye(4, dtype="float32")
    _ = model.fit(
        *(x, x[:, :1]), verbose=0, epochs=3, callbacks=[doctor, Look()]
    )
    assert [bool(each) for each in seen] == [False, True, True]
    assert 'http-equiv="refresh" content="10"' in seen[2]
    assert "in 2 of 3 epochs" in seen[2]
    last = path.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in last
    assert "in 3 epochs" in last
    # Later, and of the same recording, the page is the same.
    doctor.report(tmp_path / "later.html")
    assert (tmp_path / "later.html").read_text(encoding="utf-8") == last


def test_a_report_that_cannot_be_written_is_one_warning(needs, tmp_path):
    doctor = TrainingDoctor(
        report_to=tmp_path / "none" / "report.html",
        time_budget=None,
        on_finding=lambda finding: None,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        history = _fit(doctor)
    assert len(history.history["loss"]) == 3
    said = [w for w in caught if "write its report" in str(w.message)]
    assert len(said) == 1
    assert "write its report" in " ".join(doctor.unchecked)


def test_any_monitor_can_be_reported(needs, tmp_path):
    from keras_concepts.callbacks import GradientMonitor

    monitor = GradientMonitor()
    _ = _fit(monitor)
    monitor.report(tmp_path / "report.html", title="mine")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>mine</h1>" in text
    assert 'id="gradients"' in text
