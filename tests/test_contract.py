"""What every public class keeps, asked of each that `__all__` names."""

import contextlib
import copy
import importlib
import inspect
import json
import os
import pathlib
import pickle
import pkgutil
import subprocess
import sys
from typing import NamedTuple

import keras
import numpy as np
import pytest

import keras_concepts as kc
import specimens

PACKAGES = [
    info.name
    for info in pkgutil.iter_modules(kc.__path__)
    if info.ispkg and not info.name.startswith("_")
]
CLASSES = [
    getattr(importlib.import_module(f"keras_concepts.{package}"), name)
    for package in PACKAGES
    for name in importlib.import_module(f"keras_concepts.{package}").__all__
    if inspect.isclass(
        getattr(importlib.import_module(f"keras_concepts.{package}"), name)
    )
] + [kc.Recording]
CALLBACKS = [c for c in CLASSES if issubclass(c, keras.callbacks.Callback)]
PARTS = [c for c in CLASSES if hasattr(c, "get_config")]
METRICS = [c for c in CLASSES if issubclass(c, keras.Metric)]
LAYERS = [c for c in CLASSES if issubclass(c, keras.Layer)]
LOSSES = [c for c in CLASSES if issubclass(c, keras.Loss)]
# Arguments for callbacks that cannot be made without any.
ARGUMENTS = {
    kc.callbacks.SignalMonitor: {
        "probe": (np.ones((4, 12), "float32"), np.zeros(4, "int32"))
    }
}


# Without a function of a test, which cannot be pickled.
QUIET = {kc.callbacks.TrainingDoctor: {"on_finding": "warn"}}
COPIES = [
    copy.copy,
    copy.deepcopy,
    lambda each: pickle.loads(pickle.dumps(each)),
]
with contextlib.suppress(ImportError):
    import cloudpickle  # as joblib, ray and others send what they run

    COPIES.append(lambda each: pickle.loads(cloudpickle.dumps(each)))


def label(cls):
    return cls.__name__


def test_the_vocabulary_has_what_monitors_log():
    keys = {key for each in CALLBACKS for key in each.log_keys}
    assert keys == kc.quantities.MONITOR_LOGS


@pytest.mark.parametrize("package", PACKAGES)
def test_exported_names_exist_and_are_sorted(package):
    module = importlib.import_module(f"keras_concepts.{package}")
    assert module.__all__ == sorted(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_the_package_exports_what_it_holds():
    assert kc.__all__ == sorted(kc.__all__)
    public = {
        name
        for name, value in vars(kc).items()
        if not name.startswith("_")
        and not (inspect.ismodule(value) and name not in kc.__all__)
    }
    assert public <= set(kc.__all__)  # the others are loaded when first used
    assert all(hasattr(kc, name) for name in kc.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=label)
def test_arguments_are_documented(cls):
    documentation = inspect.getdoc(cls)
    assert documentation.splitlines()[0].endswith(".")
    section = documentation.partition(
        "Args:" if "Args:" in documentation else "Attributes:"
    )[2]
    for name in inspect.signature(cls).parameters:
        assert f"    {name}: " in section, name


@pytest.mark.parametrize("cls", METRICS + LOSSES, ids=label)
def test_signature_names_every_argument(cls):
    parameters = inspect.signature(cls).parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD}
    with pytest.raises(TypeError, match=rf"\b{cls.__name__}\b.*'nmae'"):
        cls(nmae="x")
    config = cls().get_config()
    names = {parameter.name for parameter in parameters}
    assert set(config) <= names | {"dtype"}


@pytest.mark.parametrize("cls", CLASSES, ids=label)
def test_public_methods_are_documented(cls):
    inherited = set(dir(keras.callbacks.Callback))
    for name, member in vars(cls).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert inspect.getdoc(member) or name in inherited, name


ROWS = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
ROW_LABELS = ROWS[:, :3].argmax(axis=1)


def fit(callbacks, epochs=2, model=None):
    if model is None:
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((12,)),
                keras.layers.Dense(6, "relu", kernel_regularizer="l2"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(3, "softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy")
    arguments = {"epochs": epochs, "verbose": 0, "callbacks": callbacks}
    model.fit(ROWS, ROW_LABELS, **arguments)
    return model


def make_callback(cls):
    return cls(**ARGUMENTS.get(cls, {}))


def given(callback):
    names = inspect.signature(type(callback)).parameters
    return {name: getattr(callback, name) for name in names}


class Watched(NamedTuple):
    """A callback, what it was made with, and a model that it watched."""

    callback: keras.callbacks.Callback
    arguments: dict
    model: keras.Model


@pytest.fixture(scope="module")
def plain():
    return fit([])


@pytest.fixture(scope="class")
def watched(cls):
    callback = make_callback(cls)
    return Watched(callback, given(callback), fit([callback]))


@pytest.mark.parametrize("cls", CALLBACKS, ids=label, scope="class")
class TestCallback:
    def test_keeps_its_arguments(self, watched):
        """Stored as given, and no training writes to them."""
        assert given(watched.callback) == watched.arguments

    @pytest.mark.optimized
    def test_changes_no_weight(self, watched, plain):
        model = watched.model
        for a, b in zip(
            [*plain.variables, *plain.optimizer.variables],
            [*model.variables, *model.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
            )

    def test_serves_two_trainings(self, cls):
        callback = make_callback(cls)
        model = fit([callback], epochs=3)
        first = callback.recording
        model = fit([callback], epochs=1, model=model)
        assert set(first.epoch) - {-1} == {0, 1, 2}
        assert set(callback.recording.epoch) - {-1} == {0}
        fit([callback], epochs=1)
        assert set(callback.recording.epoch) - {-1} == {0}

    def test_log_values_are_numbers(self, watched):
        for key, values in watched.model.history.history.items():
            assert all(isinstance(value, float) for value in values), key

    def test_copies_belong_to_no_fit(self, cls, tmp_path):
        """Made before, in and after a `fit`: each records its own `fit`."""
        path = tmp_path / "run.jsonl"
        arguments = ARGUMENTS.get(cls, {}) | QUIET.get(cls, {})
        callback = cls(**arguments | {"record_to": path})
        within = []

        class Copy(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 0:
                    within.extend(way(callback) for way in COPIES)

        before = [way(callback) for way in COPIES]
        model = fit([callback, Copy()])
        after = [way(callback) for way in COPIES]
        whole, rows = path.read_bytes(), len(callback.recording)
        assert {len(each.recording) for each in before} == {0}
        assert {len(each.recording) for each in after} == {rows}
        [one_epoch] = {len(each.recording) for each in within}
        assert 0 < one_epoch < rows
        for each in after:
            for name in ("findings", "checked", "unchecked", "found"):
                if hasattr(callback, name):
                    assert getattr(each, name) == getattr(callback, name)
        within[0].summary()
        for each in (*before, *within, *after):
            each.recording.close()
            assert path.read_bytes() == whole
            assert each.record_to == path
        # A search for parameters copies its callbacks for each trial.
        fit([before[1]], model=model, epochs=1)
        assert len(callback.recording) == rows
        assert [run.number for run in kc.Recording.load(path).runs] == [0, 1]

    def test_summary_and_plot(self, cls, watched, tmp_path, capsys):
        make_callback(cls).summary()  # nothing recorded yet, which it reports
        assert capsys.readouterr().out.strip()
        watched.callback.summary()
        assert len(capsys.readouterr().out.splitlines()) > 3
        watched.callback.plot(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5_000

    def test_a_notebook_shows_table_and_figure(self, cls, watched):
        assert make_callback(cls)._repr_html_().startswith("<p>No")
        page = watched.callback._repr_html_()
        assert page.startswith(("<pre", '<div class="kc-doctor">'))
        assert page.count('src="data:image/png;base64,') == 1


def test_importing_needs_no_extra():
    extras = "matplotlib sklearn pandas tensorboard tensorboardX mlxtend "
    extras += "mlflow wandb"
    code = (
        "import sys, keras_concepts; "
        f"found = set({extras.split()!r}) & set(sys.modules); "
        "assert not found, found"
    )
    # TensorFlow itself may import some of them.
    before = "import keras, sys; before = set(sys.modules)\n"
    code = before + code.replace(
        "set(sys.modules)", "(set(sys.modules) - before)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


X = np.random.default_rng(0).normal(size=(24, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 4, 24)
LOGITS = np.random.default_rng(2).normal(size=(24, 4)).astype("float32")


def make(cls):
    return cls(**specimens.ARGUMENTS[cls])


def numbers(result):
    """A result as plain numbers, whatever its structure."""
    if isinstance(result, dict):
        return {key: numbers(value) for key, value in result.items()}
    return np.asarray(keras.ops.convert_to_numpy(result), "float64").tolist()


@pytest.mark.parametrize("cls", PARTS, ids=label)
class TestSaving:
    def test_config_holds_the_arguments(self, cls):
        arguments = specimens.ARGUMENTS[cls]
        config = make(cls).get_config()
        assert {name: config[name] for name in arguments} == arguments
        assert json.loads(json.dumps(config)).keys() == config.keys()
        assert cls.from_config(config).get_config() == config

    def test_specimens_differ_from_the_defaults(self, cls):
        parameters = inspect.signature(cls).parameters
        for name, value in specimens.ARGUMENTS[cls].items():
            if name in parameters:
                assert value != parameters[name].default, name

    def test_is_registered(self, cls):
        name = keras.saving.get_registered_name(cls)
        assert name == f"keras_concepts>{cls.__name__}"
        serialized = keras.saving.serialize_keras_object(make(cls))
        again = keras.saving.deserialize_keras_object(serialized)
        assert type(again) is cls

    def test_use_leaves_the_config(self, cls):
        component = make(cls)
        before = component.get_config()
        model = specimens.model_with(component)
        model.fit(X, Y, verbose=0)
        assert component.get_config() == before
        # As of Keras' own, the state of a metric is not copied.
        for copied in (
            copy.copy(component),
            copy.deepcopy(component),
            pickle.loads(pickle.dumps(component)),
        ):
            assert copied is not component
            # As JSON: Keras 3.12 copies tuples as lists.
            assert json.dumps(copied.get_config()) == json.dumps(before)
        for other in (
            keras.models.clone_model(model),
            pickle.loads(pickle.dumps(model)),
        ):
            assert other.predict(X, verbose=0).shape == (24, 4)


LOAD = """
import sys, json, pathlib
import numpy as np
import keras
import keras_concepts
from test_contract import X, Y, numbers

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    model = keras.saving.load_model(path, safe_mode=True)
    found = model.evaluate(X, Y, verbose=0, return_dict=True)
    path.with_suffix(".json").write_text(json.dumps(numbers(found)))
"""


def test_files_load_in_a_fresh_process(tmp_path):
    expected = {}
    for cls in PARTS:
        model = specimens.model_with(make(cls))
        model.save(tmp_path / f"{cls.__name__}.keras")
        # Afterwards, for what is random draws other numbers each time.
        found = model.evaluate(X, Y, verbose=0, return_dict=True)
        expected[cls.__name__] = numbers(found)
    folder = str(pathlib.Path(__file__).parent)
    path = os.pathsep.join([folder, os.getcwd()])
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for name, result in expected.items():
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found.keys() == result.keys(), name
        for key, value in result.items():
            np.testing.assert_allclose(
                found[key], value, rtol=1e-5, atol=1e-7, err_msg=name
            )


@pytest.mark.parametrize("cls", LAYERS, ids=label)
class TestLayer:
    def test_says_the_shape_of_its_output(self, cls):
        layer = make(cls)
        assert layer.compute_output_shape((24, 6)) == tuple(layer(X).shape)
        assert make(cls)(keras.Input((6,))).shape == (None, 6)

    def test_keeps_the_dtype_of_its_policy(self, cls):
        layer = cls(**specimens.ARGUMENTS[cls], dtype="mixed_bfloat16")
        dtype = keras.backend.standardize_dtype(layer(X).dtype)
        # A layer without autocast passes on what it is given.
        assert dtype == ("bfloat16" if layer.autocast else "float32")

    def test_passes_gradients(self, cls):
        assert kc.check_gradients(make(cls), X[:3])


@pytest.mark.parametrize("cls", LOSSES, ids=label)
class TestLoss:
    def test_gradient_is_right(self, cls):
        check = kc.check_gradients(make(cls), (Y[:6], LOGITS[:6]))
        assert check, str(check)

    def test_unit_weights_change_nothing(self, cls):
        ones = np.ones(24, "float32")
        plain, weighted = make(cls)(Y, LOGITS), make(cls)(Y, LOGITS, ones)
        assert float(plain) == pytest.approx(float(weighted), rel=1e-6)

    def test_shapes_that_do_not_fit(self, cls):
        for y_true, weights in ((Y[:5], None), (Y, np.ones(5))):
            with pytest.raises(ValueError, match=f"`{cls.__name__}`"):
                make(cls)(y_true, LOGITS, weights)


@pytest.mark.parametrize("cls", METRICS, ids=label)
class TestMetric:
    def counted(self, cls, splits, weights=None):
        metric = make(cls)
        start = 0
        for size in splits:
            part = slice(start, start + size)
            metric.update_state(
                Y[part],
                LOGITS[part],
                None if weights is None else weights[part],
            )
            start += size
        return metric

    def same(self, a, b):
        a, b = numbers(a.result()), numbers(b.result())
        if not isinstance(a, dict):
            a, b = {"": a}, {"": b}
        for key, value in a.items():
            np.testing.assert_allclose(b[key], value, rtol=1e-6, atol=1e-7)

    def test_split_of_the_batches_is_free(self, cls):
        whole = self.counted(cls, [24])
        self.same(whole, self.counted(cls, [8, 8, 8]))
        self.same(whole, self.counted(cls, [8, 8, *[1] * 8]))

    def test_reset(self, cls):
        metric = self.counted(cls, [8, 8, 8])
        metric.reset_state()
        metric.update_state(Y[:8], LOGITS[:8])
        self.same(self.counted(cls, [8]), metric)

    def test_unit_weights_change_nothing(self, cls):
        ones = np.ones(24, "float32")
        self.same(self.counted(cls, [24]), self.counted(cls, [24], ones))

    def test_weights_that_are_zero_leave_rows_out(self, cls):
        weights = (np.arange(24) < 8).astype("float32")
        self.same(self.counted(cls, [8]), self.counted(cls, [24], weights))

    def test_weights_are_repetitions(self, cls):
        weights = np.where(np.arange(24) < 8, 2.0, 1.0).astype("float32")
        twice = self.counted(cls, [24])
        twice.update_state(Y[:8], LOGITS[:8])
        self.same(twice, self.counted(cls, [24], weights))

    def test_shapes_that_do_not_fit(self, cls):
        for y_true, y_pred, weights in (
            (Y[:5], LOGITS, None),
            (np.zeros((24, 3)), LOGITS, None),
            (Y, LOGITS, np.ones((24, 4))),
            (Y, LOGITS, np.ones(5)),
        ):
            with pytest.raises(ValueError, match=f"`{cls.__name__}`"):
                make(cls).update_state(y_true, y_pred, weights)

    def test_an_empty_batch_changes_nothing(self, cls):
        metric = self.counted(cls, [24])
        metric.update_state(Y[:0], LOGITS[:0])
        self.same(self.counted(cls, [24]), metric)

    def test_nothing_counted_gives_finite_numbers(self, cls):
        metric = make(cls)
        try:
            found = numbers(metric.result())
        except ValueError as error:
            assert "Call `update_state` first" in str(error)  # noqa: PT017
            return
        for value in found.values() if isinstance(found, dict) else [found]:
            assert np.isfinite(value).all()

    def test_says_which_direction_is_better(self, cls):
        assert make(cls)._direction in ("up", "down")
        assert "better" in inspect.getdoc(cls) or "matrix" in inspect.getdoc(
            cls
        )
