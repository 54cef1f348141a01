"""Several monitors and several runs in one file, and what is known of a run."""

import gc
import json
import pickle
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import Recording
from keras_concepts import quantities as q
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    SignalMonitor,
)
from keras_concepts.regularizers import GroupLasso
from older_keras import as_regularizer
from watched_fits import all_monitors

X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = X[:, :1]


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(4, "relu", kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    return model


def fit(model, callbacks, **arguments):
    return model.fit(
        X, Y, batch_size=16, verbose=0, callbacks=callbacks, **arguments
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Five monitors of one fit of two epochs, and their file."""
    path = tmp_path_factory.mktemp("run") / "run.jsonl"
    callbacks = all_monitors(path, (X, Y))
    history = fit(network(), callbacks, epochs=2).history
    return callbacks, Recording.load(path), history


def same_rows(a, b):
    assert len(list(a)) == len(list(b)) > 0
    for one, other in zip(a, b, strict=True):
        for field in ("run", "monitor", "epoch", "owner", "quantity"):
            assert getattr(one, field) == getattr(other, field)
        for field in ("steps", "index", "values"):
            np.testing.assert_array_equal(
                getattr(one, field), getattr(other, field)
            )


def test_one_file_holds_what_each_monitor_recorded(shared):
    callbacks, recording, _ = shared
    [run] = recording.runs
    assert run.monitors == [type(c).__name__ for c in callbacks]
    assert set(recording.monitors) == set(run.monitors)
    for callback in callbacks:
        name = type(callback).__name__
        mine = callback.recording.select(monitor=name)
        same_rows(mine, recording.select(monitor=name))


def test_logs_are_recorded_once(shared):
    _, recording, history = shared
    logged = recording.select(quantity=q.LOG)
    for key in ("loss", "mae"):
        rows = logged.select(owner=key)
        assert rows.value.tolist() == pytest.approx(history[key])
        assert rows.epoch.tolist() == [0, 1]
        assert rows.step.tolist() == [3, 6]
    rates = recording.select("", q.LEARNING_RATE)
    assert rates.value.tolist() == pytest.approx([0.1, 0.1])


def test_facts_of_the_run(shared):
    _, recording, _ = shared
    facts = recording.facts
    assert facts["backend"] == keras.backend.backend()
    assert facts["versions"]["keras"] == keras.version()
    assert facts["dtype_policy"] == "float32"
    assert (facts["epochs"], facts["steps_per_epoch"]) == (2, 3)
    assert facts["batch_size"] == 16
    assert facts["loss"] == "mse"
    assert facts["metrics"] == ["mae"]
    assert facts["optimizer"]["class"] == "SGD"
    assert facts["optimizer"]["config"]["momentum"] == 0.0
    assert facts["parameters"] == 6 * 4 + 4 + 4 * 4 + 4 + 1
    by_path = {layer["path"]: layer for layer in facts["layers"]}
    hidden = by_path["net/hidden"]
    assert hidden["class"] == "Dense"
    assert hidden["activation"] == "relu"
    assert (hidden["units"], hidden["parameters"]) == (4, 28)
    assert hidden["trainable"] is True
    kernel = {v["path"]: v for v in facts["variables"]}["net/hidden/kernel"]
    assert kernel["shape"] == [6, 4]
    assert kernel["regularizer"]["class"] == "L2"


def test_gradients_and_signals_are_joined_by_the_facts(shared):
    _, recording, _ = shared
    [run] = recording.runs
    variables = recording.select(quantity=q.GRADIENT_RMS).owners
    measured = recording.select(quantity=q.ERROR_RMS).owners
    assert {run.layer_of(v) for v in variables} == set(measured)
    assert run.layer_of("net/norm/gamma") == "net/norm"
    with pytest.raises(KeyError):
        run.layer_of("net/nothing")


def test_two_monitors_of_a_kind(tmp_path):
    path = tmp_path / "run.jsonl"
    both = [SignalMonitor((X[:n], Y[:n]), record_to=path) for n in (16, 48)]
    fit(network(), both, epochs=1)
    recording = Recording.load(path)
    assert recording.monitors == ["SignalMonitor", "SignalMonitor (2)"]
    for monitor, name in zip(both, recording.monitors, strict=True):
        same_rows(
            monitor.recording.select(monitor=name),
            recording.select(monitor=name),
        )


def test_epochs_and_steps_go_on_in_a_loop_of_fits(tmp_path):
    path = tmp_path / "run.jsonl"
    model, callbacks = network(), all_monitors(path, (X, Y))
    for _ in range(3):
        fit(model, callbacks, epochs=1)
    recording = Recording.load(path)
    assert [run.number for run in recording.runs] == [0, 1, 2]
    assert all(len(run.monitors) == 5 for run in recording.runs)
    assert all(run.facts["model"] == "net" for run in recording.runs)
    assert len({run.identity for run in recording.runs}) == 3
    losses = recording.select("", q.BATCH_LOSS, monitor="GradientMonitor")
    assert losses.step.tolist() == list(range(9))
    assert losses.epoch.tolist() == [0] * 3 + [1] * 3 + [2] * 3
    probes = recording.select("", q.PROBE_LOSS)
    assert probes.step.tolist() == [0, 3, 3, 6, 6, 9]
    assert probes.epoch.tolist() == [-1, 0, -1, 1, -1, 2]
    checked = recording.select("", q.CHECKED_STEPS)
    assert checked.epoch.tolist() == [0, 1, 2]


def test_a_resumed_fit_keeps_the_numbers_of_its_epochs(tmp_path):
    path = tmp_path / "run.jsonl"
    model = network()
    fit(model, all_monitors(path, (X, Y)), epochs=2)
    fit(model, all_monitors(path, (X, Y)), epochs=4, initial_epoch=2)
    recording = Recording.load(path)
    for quantity in (q.PENALTY, q.CHECKED_STEPS, q.INFERENCE_GAP):
        rows = recording.select("", quantity)
        assert rows.epoch.tolist() == [0, 1, 2, 3]
    assert recording.select("loss").step.tolist() == [3, 6, 9, 12]


def test_steps_are_counted_where_epochs_are_short():
    """Where training is stopped in the middle of an epoch."""

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = batch == 1

    model = network()
    signals, gradients = SignalMonitor((X, Y)), GradientMonitor()
    fit(model, [signals, gradients, Stop()], epochs=3)
    taken = len(gradients.recording.select("", q.BATCH_LOSS))
    assert taken in (2, 3)  # Keras looks at the flag after a step or an epoch
    probes = signals.recording.select("", q.PROBE_LOSS)
    assert probes.step.tolist() == [0, taken]
    assert set(signals.recording.select("loss").step) == {taken}


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_steps_are_counted_where_data_run_out():
    def batches():
        for start in range(0, 48, 16):
            yield X[start : start + 16], Y[start : start + 16]

    model = network()
    monitors = [GradientMonitor(), SignalMonitor((X, Y))]
    for _ in range(2):
        _ = model.fit(
            batches(),
            steps_per_epoch=5,
            shuffle=False,
            verbose=0,
            callbacks=monitors,
        )
        for monitor in monitors:
            assert set(monitor.recording.select("loss").step) == {3}


def test_accumulated_steps_are_steps():
    model = network()
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
    model.compile(optimizer, "mse")
    monitor = SignalMonitor((X, Y))
    fit(model, [monitor], epochs=2)
    assert monitor.recording.select("", q.PROBE_LOSS).step.tolist() == [0, 3, 6]


def test_one_list_of_callbacks_in_two_fits(tmp_path):
    path = tmp_path / "run.jsonl"
    model = network()
    monitor = GradientMonitor(record_to=path)
    callbacks = keras.callbacks.CallbackList(
        [monitor], add_history=True, model=model, epochs=1
    )
    for _ in range(2):
        fit(model, callbacks)
    gc.collect()
    assert weakref.getweakrefcount(callbacks) == 0  # nothing waits for its end
    recording = Recording.load(path)
    assert [run.monitors for run in recording.runs] == [["GradientMonitor"]] * 2
    assert recording.select("", q.BATCH_LOSS).step.tolist() == list(range(6))


def test_a_layer_with_attributes_of_such_names(tmp_path):
    class Searched(layers.Layer):
        def __init__(self):
            super().__init__()
            self.operations = ["conv", "skip"]
            self.rate = float("inf")
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    model = keras.Sequential([keras.Input((6,)), Searched()])
    model.compile("sgd", "mse")
    path = tmp_path / "run.jsonl"
    guard = NonFiniteGuard(record_to=path)
    fit(model, [GradientMonitor(record_to=path), guard])
    rates = [x.get("rate") for x in Recording.load(path).facts["layers"]]
    assert "inf" in rates


def test_monitors_can_be_pickled_after_training():
    probe = X, Y
    callbacks = [SignalMonitor(probe), BatchNormShiftMonitor(probe)]
    fit(network(), callbacks)
    for callback in callbacks:
        callback.set_model(None)
        copied = pickle.loads(pickle.dumps(callback))
        assert len(copied.recording) == len(callback.recording)


def test_what_cannot_be_saved_can_be_recorded(tmp_path):
    """A custom loss, layer and learning rate schedule without a config."""

    class Own(layers.Layer):
        def __init__(self, table):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(x)

    class Rate(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.01 / (1.0 + keras.ops.cast(step, "float32"))

    model = keras.Sequential([keras.Input((6,)), Own(object())])
    loss = lambda y, p: keras.ops.mean((y - p) ** 2, -1)  # noqa: E731
    model.compile(keras.optimizers.SGD(Rate()), loss, metrics=[loss])
    path = tmp_path / "run.jsonl"
    fit(model, [GradientMonitor(record_to=path)], epochs=1)
    facts = Recording.load(path).facts
    assert facts["loss"] == "<lambda>"
    assert facts["layers"][-1]["class"] == "Dense"
    _ = json.dumps(facts, allow_nan=False)


def test_logs_of_several_numbers_or_of_none(tmp_path):
    class Own(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs.update(words="none", nothing=None)
            logs[3] = 1.0

    model = keras.Sequential([keras.Input((6,)), layers.Dense(3, "softmax")])
    model.compile("sgd", "mse", metrics=[keras.metrics.F1Score(name="f1")])
    monitor = GradientMonitor()
    y = np.eye(3, dtype="float32")[X[:, :3].argmax(1)]
    history = model.fit(X, y, verbose=0, callbacks=[Own(), monitor]).history
    rows = monitor.recording.select("f1", q.LOG)
    assert rows.index.tolist() == [0, 1, 2]
    assert rows.value.tolist() == pytest.approx(history["f1"][0].tolist())
    assert monitor.recording.select("3").value.tolist() == [1.0]
    for key in ("words", "nothing"):
        assert len(monitor.recording.select(key)) == 0


def test_a_layer_that_refuses_to_tell_does_not_end_the_run():
    class Shy(layers.Dense):
        @property
        def rate(self):
            raise RuntimeError

        def get_config(self):
            raise RuntimeError

    class Penalty(keras.regularizers.L2):
        def get_config(self):
            raise RuntimeError

    shy = Shy(1, kernel_regularizer=Penalty(0.1))
    model = keras.Sequential([keras.Input((6,)), shy])
    model.compile("sgd", "mse")
    monitor = GradientMonitor()
    fit(model, [monitor])
    [kernel, _] = monitor.recording.facts["variables"]
    assert kernel["regularizer"] == {"class": "Penalty", "config": None}


def test_models_built_by_their_first_step_have_facts(tmp_path):
    model = keras.Sequential([layers.Dense(2), layers.Dense(1)])
    model.compile("sgd", "mse")
    path = tmp_path / "run.jsonl"
    fit(model, [GradientMonitor(record_to=path)], epochs=1)
    [run] = Recording.load(path).runs
    shapes = [v["shape"] for v in run.facts["variables"]]
    assert shapes == [[6, 2], [2], [2, 1], [1]]


class Everything(keras.Model):
    """A model that gives every monitor all that it can record."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(9, 4, mask_zero=True)
        self.lstm = layers.LSTM(3, return_sequences=True)
        self.gru = layers.GRU(3, kernel_regularizer=GroupLasso(0.1))
        self.norm = layers.BatchNormalization()
        self.hidden = layers.Dense(
            4,
            "relu",
            kernel_regularizer=keras.regularizers.L1L2(0.1, 0.1),
            bias_regularizer=as_regularizer(lambda x: keras.ops.sum(x**4)),
            activity_regularizer="l2",
        )
        self.heads = {name: layers.Dense(1, name=name) for name in "ab"}

    def call(self, x, training=None):
        x = self.gru(self.lstm(self.embedding(x)))
        x = self.norm(x, training=training)
        x = self.hidden(x)
        self.add_loss(0.1 * keras.ops.mean(x))
        return {name: head(x) for name, head in self.heads.items()}

    def compute_loss(self, *args, **kwargs):
        return 1.0 + super().compute_loss(*args, **kwargs)


def test_every_quantity_of_the_vocabulary_is_recorded():
    keras.utils.set_random_seed(0)
    model = Everything()
    optimizer = keras.optimizers.AdamW(0.01)
    model.compile(optimizer, {"a": "mse", "b": "mse"})
    x = np.random.default_rng(0).integers(1, 9, (16, 5))
    y = {name: np.ones((16, 1), "float32") for name in "ab"}
    probe = x, y
    callbacks = all_monitors(probe=probe)
    _ = model.fit(x, y, batch_size=8, verbose=0, callbacks=callbacks)
    faults = {x for x in q.QUANTITIES if x.startswith("non_finite_")}
    for callback in callbacks:
        concept = q.concept_of(type(callback).__name__)
        recorded = set(callback.recording.quantities)
        logged = {q.LOG, q.LEARNING_RATE}
        assert recorded - logged == set(concept.quantities) - faults
    # `test_non_finite_guard.py` has a fault of each kind.
    assert len(faults) == 7


def test_an_interrupted_fit_and_the_next_are_two_runs(tmp_path):
    """Nothing was restored: no row of the first may be taken for repeated."""

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    path = tmp_path / "run.jsonl"
    model = network()
    monitor = GradientMonitor(record_to=path)
    with pytest.raises(KeyboardInterrupt):
        fit(model, [Interrupt(), monitor], epochs=2)
    # The optimizer's step lies within the first epoch of the next run.
    monitor = GradientMonitor(record_to=path)
    _ = model.fit(X, Y, batch_size=4, verbose=0, callbacks=[monitor])
    recording = Recording.load(path)
    assert [run.facts.get("resumed") for run in recording.runs] == [None, None]
    losses = recording.select("", q.BATCH_LOSS)
    assert losses.epoch.tolist() == [0] * 3 + [1] * 12
