"""What `fit` records to a file when something goes wrong, or comes early."""

import collections
import contextlib
import errno
import gc
import re
import subprocess
import sys

import keras
import pytest
from keras import layers

from keras_concepts import Recording, _backend
from keras_concepts import quantities as q
from keras_concepts.callbacks import (
    GradientMonitor,
    NonFiniteGuard,
    SignalMonitor,
)
from watched_fits import X, Y, all_monitors, user_warnings


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model


def fit(model, callbacks, **arguments):
    return model.fit(
        X, Y, batch_size=8, verbose=0, callbacks=callbacks, **arguments
    )


def steps_of(recording):
    """Of each epoch the measured steps, as `GradientMonitor` has them."""
    found = collections.defaultdict(list)
    for series in recording.select("", q.GRADIENT_NORM):
        found[series.epoch] += series.steps.tolist()
    return dict(found)


class Do(keras.callbacks.Callback):
    """Does something at the end of one epoch."""

    def __init__(self, epoch, act):
        super().__init__()
        self.epoch = epoch
        self.act = act

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            self.act()


def test_a_full_disk_is_one_warning(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    recorded = all_monitors(path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    name = "keras_concepts._recording.held_file.HeldFile.append"
    steps = [
        Do(0, lambda: monkeypatch.setattr(name, full)),
        Do(2, monkeypatch.undo),
    ]
    with user_warnings() as texts:
        _ = fit(network(), [*steps, *recorded], epochs=3)
    [text] = texts
    assert "cannot be written" in text
    for monitor in recorded:
        mine = monitor.recording
        name = mine.monitor
        loaded = Recording.load(path).select(monitor=name)
        assert loaded.epoch.tolist() == mine.select(monitor=name).epoch.tolist()
        assert {0, 1, 2} <= set(loaded.epoch)


def test_a_disk_that_stays_full_does_not_end_a_loop_of_fits(
    tmp_path, monkeypatch
):
    path = tmp_path / "run.jsonl"
    model, monitor = network(), GradientMonitor(record_to=path)
    _ = fit(model, [monitor])
    whole = path.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        "keras_concepts._recording.held_file.HeldFile.append", full
    )
    with user_warnings() as texts:
        _ = fit(model, [monitor])
    assert len(texts) == 1
    assert path.read_bytes() == whole
    assert monitor.recording.select("", q.BATCH_LOSS).step.tolist() == [
        *(4, 5, 6, 7)
    ]
    monkeypatch.undo()
    _ = fit(model, [monitor])
    assert steps_of(Recording.load(path)) == {
        i: list(range(4 * i, 4 * i + 4)) for i in range(3)
    }


def test_a_file_deleted_in_fit_is_begun_again(tmp_path):
    path = tmp_path / "run.jsonl"
    recorded = all_monitors(path)
    _ = fit(network(), [Do(1, path.unlink), *recorded], epochs=3)
    loaded = Recording.load(path)
    assert loaded.facts["model"] == "net"
    assert loaded.facts["ended"]
    assert set(loaded.monitors) == {m.recording.monitor for m in recorded}
    for monitor in recorded:
        name = monitor.recording.monitor
        mine = monitor.recording.select(monitor=name)
        assert len(mine) == len(loaded.select(monitor=name)) > 0
    assert loaded.select("loss").epoch.tolist() == [0, 1, 2]


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("first", ["monitors", "backup"])
@pytest.mark.parametrize("when", ["between", "before", "after"])
def test_resumed_runs_have_each_epoch_once(first, when, tmp_path):
    path = tmp_path / "run.jsonl"

    def stop():
        raise BrokenError

    def train(*breaks):
        backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
        mine = all_monitors(path)
        pair = [mine, [backup]] if first == "monitors" else [[backup], mine]
        place = {"before": 0, "between": 1, "after": 2}[when]
        pair.insert(place, list(breaks))
        _ = fit(network(), [c for part in pair for c in part], epochs=4)

    for epoch in (1, 2):
        with pytest.raises(BrokenError):
            train(Do(epoch, stop))
    train()
    loaded = Recording.load(path)
    assert steps_of(loaded) == {
        i: list(range(4 * i, 4 * i + 4)) for i in range(4)
    }
    for quantity in (q.PENALTY, q.CHECKED_STEPS, q.INFERENCE_GAP):
        assert loaded.select("", quantity).epoch.tolist() == [0, 1, 2, 3]
    for owner, quantity in (("loss", q.LOG), ("", q.PROBE_LOSS)):
        rows = loaded.select(owner, quantity)
        after = rows.step[rows.epoch >= 0]
        assert after.tolist() == [4, 8, 12, 16]
    assert loaded.facts["ended"]


def test_the_optimizer_counts_the_steps_of_a_resumed_fit():
    model, monitor = network(), GradientMonitor()
    signals = SignalMonitor((X, Y))
    _ = fit(model, [], epochs=2)
    _ = fit(model, [monitor, signals], initial_epoch=2, epochs=3)
    assert steps_of(monitor.recording) == {2: [8, 9, 10, 11]}
    probes = signals.recording.select("", q.PROBE_LOSS)
    assert probes.step.tolist() == [8, 12]


def test_the_file_is_free_after_fit_however_it_ends(tmp_path):
    path = tmp_path / "run.jsonl"
    code = (
        "import sys; from keras_concepts.recording import Recording\n"
        "Recording(sys.argv[1])"
    )

    def write():
        return subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True
        )

    def write_in_fit():
        assert "BlockingIOError" in write().stderr
        raise BrokenError

    model = network()
    recorded = all_monitors(path)
    with pytest.raises(BrokenError):
        _ = fit(model, [*recorded, Do(0, write_in_fit)])
    gc.collect()
    assert write().returncode == 0
    _ = fit(model, recorded)
    assert write().returncode == 0


def test_a_file_of_another_process_is_refused_before_training(tmp_path):
    path = tmp_path / "run.jsonl"
    code = """
import sys
from keras_concepts.recording import Recording
recording = Recording(sys.argv[1])
print("held", flush=True)
input()
"""
    other = subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "held\n"
    with pytest.raises(OSError, match=r"`record_to` of.*another process"):
        _ = fit(network(), [GradientMonitor(record_to=path)])
    _ = other.communicate("\n")


def test_only_the_main_process_writes(tmp_path, monkeypatch):
    path = tmp_path / "run.jsonl"
    model, monitor = network(), GradientMonitor(record_to=path)
    assert _backend.is_main_process(model)
    monkeypatch.setattr(_backend, "is_main_process", lambda model: False)
    _ = fit(model, [monitor])
    assert not path.exists()
    assert steps_of(monitor.recording) == {0: [0, 1, 2, 3]}


def test_a_monitor_listed_twice_records_once(tmp_path):
    path = tmp_path / "run.jsonl"
    recorded = all_monitors(path)
    _ = fit(network(), [*recorded, *recorded], epochs=2)
    loaded = Recording.load(path)
    [run] = loaded.runs
    assert run.monitors == [type(m).__name__ for m in recorded]
    assert loaded.select("loss").step.tolist() == [4, 8]
    assert loaded.select("", q.PROBE_LOSS).step.tolist() == [0, 4, 8]
    assert loaded.select("", q.CHECKED_STEPS).value.tolist() == [4, 4]
    assert steps_of(loaded) == {0: [0, 1, 2, 3], 1: [4, 5, 6, 7]}


class TestOrder:
    """Callbacks that come before a monitor do not get its log keys."""

    @pytest.mark.parametrize(
        ("make", "says"),
        [
            (
                lambda folder: keras.callbacks.CSVLogger(folder / "log.csv"),
                r"`CSVLogger` does not get `gradient_norm`, "
                r"`gradient_attenuation`.* of `GradientMonitor`.*first: "
                r"callbacks=\[GradientMonitor\(\.\.\.\), CSVLogger",
            ),
            (
                lambda folder: keras.callbacks.EarlyStopping(
                    "update_ratio", mode="min"
                ),
                "`EarlyStopping` does not get `update_ratio` of",
            ),
            (
                lambda folder: keras.callbacks.ModelCheckpoint(
                    folder / "{epoch}-{update_ratio:.2f}.weights.h5",
                    save_weights_only=True,
                ),
                "`ModelCheckpoint` does not get `update_ratio` of",
            ),
        ],
    )
    def test_is_warned_of_once(self, make, says, tmp_path):
        callbacks = [make(tmp_path), GradientMonitor()]
        with user_warnings() as texts, contextlib.suppress(KeyError):
            # Keras raises an error if a file name needs a key that is missing.
            _ = fit(network(), callbacks)
        [text] = [text for text in texts if "GradientMonitor" in text]
        assert re.search(says, text)

    def test_is_fine(self, tmp_path):
        before = [
            keras.callbacks.EarlyStopping("loss"),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "{epoch}.weights.h5",
                monitor="loss",
                save_weights_only=True,
            ),
            keras.callbacks.ReduceLROnPlateau("loss", mode="min"),
        ]
        after = [
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.EarlyStopping("gradient_norm", mode="min"),
        ]
        with user_warnings() as texts:
            _ = fit(network(), [*before, GradientMonitor(), *after])
            guard = NonFiniteGuard()  # adds nothing to the logs
            csv = keras.callbacks.CSVLogger(tmp_path / "other.csv")
            _ = fit(network(), [csv, guard])
        assert texts == []
        assert "update_ratio" in (tmp_path / "log.csv").read_text()

    def test_what_monitors_add_is_what_they_warn_of(self):
        added = {}
        for monitor in all_monitors():
            added[monitor] = set(fit(network(), [monitor]).history) - {"loss"}
        for monitor, keys in added.items():
            assert keys <= set(monitor.log_keys)
