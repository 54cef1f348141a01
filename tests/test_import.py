"""What is loaded when, and that saved files find their classes."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_concepts as kc


def python(code, folder):
    """Runs code in a fresh process, in which this package can be imported."""
    root = pathlib.Path(kc.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return run.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            kc.layers.ActivationProbe(),
            keras.layers.Dense(2, kernel_regularizer=kc.regularizers.L1(0.1)),
        ]
    )
    model.compile("sgd", kc.losses.CrossEntropy(from_logits=True))
    folder = tmp_path_factory.mktemp("saved")
    model.save(folder / "model.keras")
    np.save(folder / "expected.npy", model.predict(np.ones((2, 4)), verbose=0))
    return folder


_LOAD = """
import numpy
model = load_model("model.keras")
found = model.predict(numpy.ones((2, 4)), verbose=0)
numpy.testing.assert_allclose(found, numpy.load("expected.npy"), rtol=1e-5)
"""


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_concepts\nfrom keras.models import load_model",
        "from keras.models import load_model\nimport keras_concepts.recording",
    ],
    ids=["package first", "Keras first"],
)
def test_a_saved_model_loads_whichever_is_imported_first(saved, imports):
    _ = python(imports + _LOAD, saved)


@pytest.mark.parametrize(
    "imports",
    [
        "import keras_concepts.instruments",
        "import keras_concepts, importlib.util\n"
        "importlib.util.find_spec('keras')",
    ],
    ids=["backend first", "somebody looks for Keras"],
)
def test_parts_are_registered(imports, tmp_path):
    code = f"""
import warnings
warnings.simplefilter("error", RuntimeWarning)
{imports}
import keras
for name in ("ActivationProbe", "F1Score", "CrossEntropy", "L1", "Chrono"):
    assert keras.saving.get_registered_object("keras_concepts>" + name), name
"""
    _ = python(code, tmp_path)


def test_names_are_loaded_when_first_used(tmp_path):
    code = """
import importlib, pkgutil, sys
import keras_concepts.quantities, keras_concepts.recording
import keras_concepts as kc
kc.Recording(), kc.reports
heavy = {"keras", "tensorflow", "jax", "torch", "matplotlib"} & set(sys.modules)
assert not heavy, heavy

# A module must not take the place of a function of its name.
for module in pkgutil.iter_modules(kc.__path__):
    importlib.import_module("keras_concepts." + module.name)
modules = {"callbacks", "constraints", "initializers", "instruments", "layers",
    "losses", "metrics", "quantities", "recording", "regularizers", "reports",
    "rules"}
for name in kc.__all__:
    assert callable(getattr(kc, name)) != (name in modules), name
assert set(kc.__all__) <= set(dir(kc))
"""
    _ = python(code, tmp_path)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Recordings'"):
        _ = kc.Recordings
