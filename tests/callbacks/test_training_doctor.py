"""The doctor in a user's `fit`: with other callbacks, in unusual runs."""

import copy
import json
import pickle
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts import Recording, diagnose
from keras_concepts import quantities as q
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
    TrainingDoctor,
)
from keras_concepts.callbacks._time_budget import Budget
from keras_concepts.rules import Finding

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(48, 6)).astype("float32")
Y = X @ np.arange(1.0, 7.0, dtype="float32")[:, None] / 6.0
LABELS = X[:, :3].argmax(axis=1).astype("int32")


# What is missing where looking at a large model takes too long.
TAKES_LONG = "(with `time_budget=None`, it is compiled anyway)"


def network(*middle, loss="mse", rate=0.05, **arguments):
    keras.utils.set_random_seed(0)
    middle = middle or (layers.Dense(8, "relu", name="hidden"),)
    model = keras.Sequential(
        [keras.Input((6,)), *middle, layers.Dense(1, name="head")], name="net"
    )
    model.compile(keras.optimizers.SGD(rate), loss, **arguments)
    return model


def quiet(**arguments):
    arguments = {"sink": lambda text: None, "time_budget": None, **arguments}
    return TrainingDoctor(**arguments)


def fit(model, *callbacks, x=X, y=Y, epochs=4, **arguments):
    return model.fit(
        x,
        y,
        batch_size=16,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def rules_of(findings):
    return {(f.rule, f.owner, f.resolved is None) for f in findings}


def is_clean(model):
    """Whether everything that was attached to the model is removed."""
    attributes = vars(model)
    function = attributes.get("train_function")
    return (
        "make_train_function" not in attributes
        and type(function).__name__ != "ObservedTrainFunction"
    )


def healthy():
    return network(), X, Y


def diverging():
    return network(rate=1e4), X, Y


def vanishing():
    deep = [
        layers.Dense(
            8,
            "sigmoid",
            kernel_initializer=keras.initializers.RandomNormal(0, 0.05, seed=i),
        )
        for i in range(7)
    ]
    return network(*deep), X, Y


def mismatched():
    return network(loss="binary_crossentropy"), X, (Y > 0).astype("float32")


RUNS = {
    "healthy": (healthy, None),
    "diverging": (diverging, "non_finite"),
    "vanishing": (vanishing, "vanishing_gradient"),
    "mismatched": (mismatched, "head_loss_mismatch"),
}


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize("name", RUNS)
def test_a_recording_is_diagnosed_as_its_run_was(name, tmp_path):
    make, expected = RUNS[name]
    model, x, y = make()
    path = tmp_path / "run.jsonl"
    doctor = quiet(record_to=path)
    fit(model, doctor, x=x, y=y, epochs=12)
    assert doctor.unchecked == [
        s for s in doctor.unchecked if "failed" not in s
    ]
    found = {finding.rule for finding in doctor.findings}
    assert expected in found if expected else not found
    assert repr(diagnose(doctor.recording)) == repr(doctor.findings)
    assert repr(diagnose(Recording.load(path))) == repr(doctor.findings)
    for finding in doctor.findings:
        text = json.dumps(finding.to_json(), allow_nan=False)
        same = Finding.from_json(json.loads(text))
        assert json.dumps(same.to_json()) == text
        assert same.headline == finding.headline


def test_beside_other_monitors_in_one_fit_and_one_file(tmp_path):
    path = tmp_path / "run.jsonl"
    middle = [
        layers.Dense(8, "relu", kernel_regularizer="l2"),
        layers.BatchNormalization(),
    ]

    def others():
        return [
            GradientMonitor(record_to=path),
            SignalMonitor((X, Y), record_to=path),
            PenaltyReporter(record_to=path),
            BatchNormShiftMonitor((X, Y), record_to=path),
            NonFiniteGuard(record_to=path),
        ]

    alone = quiet()
    fit(network(*map(copied, middle)), alone)
    first, last = quiet(record_to=path), quiet(record_to=path)
    before = others()
    model = network(*map(copied, middle))
    fit(model, first, *before, last)
    assert is_clean(model)
    for doctor in (first, last):
        assert repr(doctor.findings) == repr(alone.findings)
        # Of the logs it sees also what monitors before it have added.
        for key in ("", "loss", "net/*"):
            mine = doctor.recording.select(key)
            assert len(mine) == len(alone.recording.select(key)) > 0
    recording = Recording.load(path)
    assert repr(diagnose(recording)) == repr(alone.findings)
    for monitor in before:
        name = type(monitor).__name__
        mine = monitor.recording.select(monitor=monitor.recording.monitor)
        names = [n for n in recording.monitors if n.startswith(name)]
        assert len(names) == 3
        saved = recording.select(monitor=monitor.recording.monitor)
        assert len(mine) == len(saved) > 0


def copied(layer):
    return type(layer).from_config(layer.get_config())


def test_listed_twice():
    doctor = quiet()
    once = quiet()
    fit(network(), once)
    fit(network(), doctor, doctor)
    assert len(doctor.recording) == len(once.recording)
    marks = doctor.recording.select(quantity=q.CHECKED)
    assert marks.epoch.tolist() == [-1, 0, 1, 2, 3, 3]


def test_two_fits(tmp_path):
    path = tmp_path / "run.jsonl"
    doctor = quiet(record_to=path)
    model = network(loss="binary_crossentropy")
    fit(model, doctor, y=(Y > 0).astype("float32"))
    assert "head_loss_mismatch" in {f.rule for f in doctor.findings}
    fit(network(), doctor)
    assert doctor.findings == []
    recording = Recording.load(path)
    assert [run.number for run in recording.runs] == [0, 1]
    assert diagnose(recording) == []
    assert "head_loss_mismatch" in {f.rule for f in diagnose(recording, 0)}
    assert recording.select("", q.CHECKED).epoch.tolist() == [
        *(-1, 0, 1, 2, 3, 3),
        *(-1, 4, 5, 6, 7, 7),
    ]


def test_a_resumed_fit(tmp_path):
    path = tmp_path / "run.jsonl"
    model = network()
    fit(model, quiet(record_to=path), epochs=2)
    doctor = quiet(record_to=path)
    fit(model, doctor, epochs=4, initial_epoch=2)
    recording = Recording.load(path)
    marks = recording.select("", q.CHECKED)
    assert marks.epoch.tolist() == [-1, 0, 1, 1, -1, 2, 3, 3]
    assert marks.step.tolist() == [0, 3, 6, 6, 6, 9, 12, 12]
    assert repr(diagnose(recording)) == repr(doctor.findings)


def test_looks_that_take_too_long_at_first(monkeypatch, tmp_path):
    allows = []
    monkeypatch.setattr(
        Budget, "allows_first_look", lambda self, layers: allows.pop(0)
    )
    doctor = quiet(record_to=tmp_path / "run.jsonl")
    model = network()
    allows[:] = [False] * 2  # before and after the epoch
    fit(model, doctor, epochs=1)
    assert not doctor.recording.select("", q.PROBE_INFERENCE_LOSS)
    assert [t for t in doctor.unchecked if t.endswith(TAKES_LONG)]
    again = Recording.load(tmp_path / "run.jsonl")
    assert again.facts["missing"] == doctor.recording.facts["missing"] != []
    doctor.suspend(model)
    assert doctor.go_on_with(model)
    known = doctor.recording.facts["data"]
    allows[:] = [False, True, True]
    fit(model, doctor, x=X[:32], y=Y[:32], epochs=3)
    doctor.conclude()
    assert doctor.recording.facts["data"] == known
    rows = doctor.recording.select("", q.PROBE_INFERENCE_LOSS)
    assert rows.epoch.tolist() == [2, 3]
    assert rows.step.tolist() == [7, 9]
    assert not [t for t in doctor.unchecked if t.endswith(TAKES_LONG)]
    again = Recording.load(tmp_path / "run.jsonl")
    assert again.facts["missing"] == []


def test_in_the_list_with_callbacks_of_keras(tmp_path):
    def callbacks(folder):
        return [
            keras.callbacks.BackupAndRestore(str(folder / "backup")),
            keras.callbacks.EarlyStopping("loss", patience=9),
            keras.callbacks.ModelCheckpoint(str(folder / "model.keras")),
            keras.callbacks.ReduceLROnPlateau(
                "loss", patience=1, min_delta=10.0, cooldown=0
            ),
        ]

    plain, watched = network(), network()
    logs = fit(plain, *callbacks(tmp_path / "a")).history
    for place in (0, 2, 4):
        doctor = quiet()
        listed = callbacks(tmp_path / str(place))
        listed.insert(place, doctor)
        watched = network()
        assert fit(watched, *listed).history == logs  # it adds no key
        for a, b in zip(plain.weights, watched.weights, strict=True):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b)
            )
        saved = keras.saving.load_model(tmp_path / str(place) / "model.keras")
        for a, b in zip(plain.weights, saved.weights, strict=True):
            np.testing.assert_array_equal(
                ops.convert_to_numpy(a), ops.convert_to_numpy(b)
            )
        rates = doctor.recording.select("", q.LEARNING_RATE).value
        assert rates[0] > rates[-1]


class Raise(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            raise RuntimeError("in the middle")


@pytest.mark.parametrize("source", ["arrays", "batches"])
def test_a_fit_that_raises_leaves_nothing_behind(source, tmp_path):
    class Rows(keras.utils.PyDataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return X[16 * i :][:16], Y[16 * i :][:16]

    model = network()
    path = tmp_path / "run.jsonl"
    doctor = quiet(record_to=path)
    data = Rows() if source == "batches" else X
    with pytest.raises(RuntimeError, match="in the middle"):
        model.fit(
            data,
            None if source == "batches" else Y,
            verbose=0,
            callbacks=[doctor, Raise()],
        )
    assert is_clean(model)
    fit(model, doctor)
    assert is_clean(model)
    assert doctor.recording.select("loss").epoch.tolist() == [0, 1, 2, 3]


class Inner(keras.callbacks.Callback):
    def __init__(self, *callbacks):
        super().__init__()
        self.inner = callbacks

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            fit(self.model, *self.inner, epochs=1)


def test_a_callable_that_raises_within_a_step_leaves_nothing_behind():
    def on_finding(finding):
        raise RuntimeError(finding.rule)

    model = network()
    x, y = np.tile(X, (2, 1)), np.tile(Y, (2, 1))
    x[40:] = np.nan
    with pytest.raises(RuntimeError, match="non_finite") as kept:
        _ = model.fit(
            *(x, y),
            batch_size=1,
            shuffle=False,
            verbose=0,
            callbacks=[quiet(on_finding=on_finding)],
        )
    assert is_clean(model)
    del kept  # until here it kept the frames of `fit`


@pytest.mark.parametrize("watched", ["nothing", "another", "the same"])
def test_a_fit_inside_a_fit(watched):
    doctor = quiet()
    inner = {"nothing": [], "another": [quiet()], "the same": [doctor]}[watched]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = network()
        fit(model, doctor, Inner(*inner))
    said = [str(w.message) for w in caught if w.category is UserWarning]
    assert all("TrainingDoctor" in text for text in said)
    assert len(said) == (watched == "the same")
    assert is_clean(model)
    assert not [text for text in doctor.unchecked if "could not" in text]


@pytest.mark.skipif(BACKEND == "jax", reason="Keras cannot, in a `fit`")
def test_layers_that_are_unfrozen_in_the_meantime():
    class Unfreeze(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.layers[0].trainable = epoch < 1
            self.model.compile("sgd", "mse")

    doctor = quiet()
    fit(network(), doctor, Unfreeze())
    assert not [text for text in doctor.unchecked if "could not" in text]
    distance = doctor.recording.select("net/hidden/kernel", q.DISTANCE_RMS)
    assert len(distance) == 5


def test_copies_and_pickles():
    for twin in (
        copy.deepcopy(quiet_pickle()),
        pickle.loads(pickle.dumps(quiet_pickle())),
    ):
        fit(network(), twin)
        assert twin.findings == []
        assert len(twin.recording)


def quiet_pickle():
    return TrainingDoctor(on_finding="warn", time_budget=None)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_the_output_is_that_of_keras_and_a_verdict(verbose, capsys):
    model = network()
    doctor = TrainingDoctor(time_budget=None)
    model.fit(X, Y, epochs=2, verbose=verbose, callbacks=[doctor])
    with_doctor = capsys.readouterr().out
    network().fit(X, Y, epochs=2, verbose=verbose)
    plain = capsys.readouterr().out
    assert with_doctor.count("Epoch") >= plain.count("Epoch")
    assert "checked" in with_doctor.lower()


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_a_finding_has_a_line_of_its_own(verbose, capsys):
    model, doctor = mismatch_with(sink=print)
    model.fit(X, Y, epochs=1, verbose=verbose, callbacks=[doctor])
    printed = capsys.readouterr().out.splitlines()
    [line] = [line for line in printed if "TrainingDoctor: " in line]
    assert line.startswith("TrainingDoctor: error: head_loss_mismatch")


def test_on_finding_report():
    said = []
    fit(*mismatch_with(sink=said.append))
    assert said[0].startswith("TrainingDoctor: error: head_loss_mismatch")
    assert "head_loss_mismatch" in said[-1]
    assert len(said) >= 2


def test_on_finding_warn():
    model, doctor = mismatch_with(on_finding="warn")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, doctor)
    said = [str(w.message) for w in caught if w.category is UserWarning]
    expected = "TrainingDoctor: error: head_loss_mismatch in net/head"
    assert said[0].split(",")[0] == expected


def test_on_finding_stop_stops_what_is_certain():
    model, doctor = mismatch_with(on_finding="stop")
    history = fit(model, doctor)
    assert len(history.epoch) == 1


def test_on_finding_stop_goes_on_with_what_is_not():
    model, x, y = vanishing()
    doctor = quiet(on_finding="stop")
    history = fit(model, doctor, x=x, y=y, epochs=12)
    assert {f.severity for f in doctor.findings} == {"warning"}
    assert len(history.epoch) == 12


def test_on_finding_a_callable():
    found = []
    model, doctor = mismatch_with(on_finding=found.append)
    fit(model, doctor)
    assert [f.rule for f in found] == [f.rule for f in doctor.findings]


def mismatch_with(**arguments):
    model, x, y = mismatched()

    class Given:
        pass

    fitted = model.fit

    def with_labels(given_x, given_y, **rest):
        return fitted(x, y, **rest)

    vars(model)["fit"] = with_labels
    return model, quiet(**arguments)


def long_epoch(rate, rows=300):
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, 6)).astype("float32")
    return network(rate=rate), x, x[:, :1]


@pytest.mark.filterwarnings("ignore:.*encountered in")
@pytest.mark.parametrize("time_budget", [None, 1e9])
def test_values_that_are_not_finite_are_noticed_in_a_long_first_epoch(
    time_budget,
):
    model, x, y = long_epoch(rate=0.01)
    x[150] = np.inf
    doctor = quiet(on_finding="stop", time_budget=time_budget)
    model.fit(x, y, batch_size=1, shuffle=False, verbose=0, callbacks=[doctor])
    [finding] = [f for f in doctor.findings if "non_finite" in f.rule][:1]
    assert finding.noticed[0] == 0
    assert finding.noticed[1] < 300


@pytest.mark.filterwarnings("ignore:.*encountered in")
def test_steps_go_on_bit_equal_after_a_look_inside():
    states = []
    for doctors in ([], [quiet()]):
        model, x, y = long_epoch(rate=0.01)
        model.fit(x, y, batch_size=1, epochs=2, verbose=0, callbacks=doctors)
        states.append([ops.convert_to_numpy(w) for w in model.weights])
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(a, b)
    marks = doctors[0].recording.select("", q.CHECKED)
    assert marks.step.tolist() == [0, 64, 256, 300, 600, 600]


@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="steps_per_execution must be 1 with torch",
)
def test_looks_inside_an_epoch_of_executions_of_several_steps():
    model, x, y = long_epoch(rate=0.01, rows=600)
    model.compile("sgd", "mse", steps_per_execution=50)
    doctor = quiet()
    model.fit(x, y, batch_size=1, verbose=0, callbacks=[doctor])
    marks = doctor.recording.select("", q.CHECKED)
    assert marks.step.tolist() == [0, 100, 300, 600, 600]


def test_what_is_measured_inside_an_epoch_belongs_to_it(tmp_path):
    """Also where a file holds the epochs of another run."""
    for _ in range(2):
        model, x, y = long_epoch(rate=0.01)
        doctor = quiet(record_to=tmp_path / "run.jsonl")
        model.fit(x, y, batch_size=3, epochs=2, verbose=0, callbacks=[doctor])
    measured = doctor.recording.select(quantity=q.BATCH_LOSS)
    assert set(measured.epoch) == {2, 3}
    third = measured.select(epoch=2)
    assert {200, 264, 299} <= set(third.step) <= set(range(200, 300))


def test_a_long_first_epoch_is_judged_from_inside():
    """Explosions and non-finite values, long before the epoch ends."""
    x = np.random.default_rng(0).normal(size=(2400, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int32")
    for rate, rule in ((1e30, "non_finite"), (3e3, "exploding_gradient")):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(8, "relu"),
                layers.Dense(2, "softmax"),
            ]
        )
        model.compile(
            keras.optimizers.SGD(rate), "sparse_categorical_crossentropy"
        )
        doctor = quiet()
        model.fit(x, y, batch_size=4, verbose=0, callbacks=[doctor])
        noticed = {f.rule: f.noticed for f in doctor.findings}
        assert rule in noticed
        assert noticed[rule] < (0, 600)


class _Writer:
    """Remembers what it was given, or fails."""

    def __init__(self, error=None):
        self.error = error
        self.rows = []
        self.findings = []

    def write(self, recording, findings=()):
        self.rows.append(len(recording))
        self.findings.append(list(findings))
        np.random.default_rng()
        # A tracker may draw from the global generator.
        _ = np.random.normal()  # noqa: NPY002, what others use
        if self.error is not None:
            raise self.error


class TestLogTo:
    def test_each_epoch_is_written_when_it_was_judged(self):
        writer = _Writer()
        doctor = quiet(log_to=writer)
        model = network(loss="binary_crossentropy")
        _ = fit(model, doctor, y=(Y > 0).astype("float32"), epochs=3)
        assert len(writer.rows) == 4  # after each epoch, and at the end
        assert writer.rows == sorted(writer.rows)
        assert len(set(writer.rows[:3])) == 3
        assert writer.findings[0]
        assert writer.findings[-1] == doctor.findings

    def test_weights_are_the_same(self):
        plain = network()
        _ = fit(plain)
        watched = network()
        _ = fit(watched, quiet(log_to=[_Writer(), _Writer()]))
        for a, b in zip(
            plain.get_weights(), watched.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
    def test_one_that_fails_is_left_alone_until_the_next_fit(self):
        broken, working = _Writer(OSError("no route")), _Writer()
        doctor = quiet(log_to=(broken, working))
        for times in (1, 2):
            with pytest.warns(UserWarning, match=r"write to `_Writer`.*no rou"):
                _ = fit(network(), doctor, epochs=3)
            assert len(broken.rows) == times
            assert len(working.rows) == 4 * times
        assert any("no route" in each for each in doctor.unchecked)

    @pytest.mark.parametrize("log_to", ["logs", 3, [_Writer(), "logs"]])
    def test_what_cannot_write_is_refused(self, log_to):
        with pytest.raises(TypeError, match="must be a writer"):
            TrainingDoctor(log_to=log_to)
