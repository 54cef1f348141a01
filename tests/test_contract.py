"""What every public class keeps, asked of each that `__all__` names."""

import importlib
import inspect
import pkgutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_concepts as kc

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
# Arguments for callbacks that cannot be made without any.
ARGUMENTS = {}


def label(cls):
    return cls.__name__


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
    assert public == set(kc.__all__)


@pytest.mark.parametrize("cls", CLASSES, ids=label)
def test_arguments_are_documented(cls):
    documentation = inspect.getdoc(cls)
    assert documentation.splitlines()[0].endswith(".")
    section = documentation.partition(
        "Args:" if "Args:" in documentation else "Attributes:"
    )[2]
    for name in inspect.signature(cls).parameters:
        assert f"    {name}: " in section, name


@pytest.mark.parametrize("cls", CLASSES, ids=label)
def test_public_methods_are_documented(cls):
    inherited = set(dir(keras.callbacks.Callback))
    for name, member in vars(cls).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert inspect.getdoc(member) or name in inherited, name


@pytest.mark.parametrize("cls", CALLBACKS, ids=label)
class TestCallback:
    def fit(self, digits, callbacks, epochs=2, model=None):
        x, y = digits
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
        model.fit(x, y, epochs=epochs, verbose=0, callbacks=callbacks)
        return model

    def make(self, cls):
        return cls(**ARGUMENTS.get(cls, {}))

    def test_keeps_its_arguments(self, cls, digits):
        """Stored as given, and no training writes to them."""
        callback = self.make(cls)
        names = list(inspect.signature(cls).parameters)
        before = {name: getattr(callback, name) for name in names}
        self.fit(digits, [callback])
        assert {name: getattr(callback, name) for name in names} == before

    def test_changes_no_weight(self, cls, digits):
        plain = self.fit(digits, [])
        watched = self.fit(digits, [self.make(cls)])
        for a, b in zip(
            [*plain.variables, *plain.optimizer.variables],
            [*watched.variables, *watched.optimizer.variables],
            strict=True,
        ):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b)
            )

    def test_serves_two_trainings(self, cls, digits):
        callback = self.make(cls)
        model = self.fit(digits, [callback], epochs=3)
        first = callback.recording
        model = self.fit(digits, [callback], epochs=1, model=model)
        assert set(first.epoch) == {0, 1, 2}
        assert set(callback.recording.epoch) == {0}
        self.fit(digits, [callback], epochs=1)
        assert set(callback.recording.epoch) == {0}

    def test_log_values_are_numbers(self, cls, digits):
        model = self.fit(digits, [self.make(cls)])
        for key, values in model.history.history.items():
            assert all(isinstance(value, float) for value in values), key

    def test_summary_and_plot(self, cls, digits, tmp_path, capsys):
        callback = self.make(cls)
        callback.summary()  # nothing yet: says so
        assert capsys.readouterr().out.strip()
        self.fit(digits, [callback])
        callback.summary()
        assert len(capsys.readouterr().out.splitlines()) > 3
        callback.plot(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size > 5_000


def test_importing_needs_no_extra():
    extras = "matplotlib sklearn pandas tensorboard tensorboardX mlxtend"
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
