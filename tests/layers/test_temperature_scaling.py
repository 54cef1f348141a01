import os
import pathlib
import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest

from keras_concepts.layers import TemperatureScaling
from keras_concepts.metrics import CalibrationError

optimize = pytest.importorskip("scipy.optimize")
special = pytest.importorskip("scipy.special")

ROOT = pathlib.Path(__file__).parents[2]


def overconfident(n=2000, classes=4, sharpness=3.0, seed=0):
    """Labels drawn from a softmax, and its logits times `sharpness`."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, classes))
    noise = random.gumbel(size=(n, classes))
    return sharpness * logits, (logits + noise).argmax(axis=1)


def oracle(logits, targets, weights):
    """The best temperature by SciPy; `targets` are distributions."""

    def loss(log_temperature):
        logs = special.log_softmax(logits / np.exp(log_temperature), axis=-1)
        return -np.average((targets * logs).sum(axis=-1), weights=weights)

    best = optimize.minimize_scalar(
        loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-10}
    )
    return np.exp(best.x)


# A minimum is flat: SciPy finds its place to half of float64's digits.
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 3.0, 50.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_scipy(sharpness, weighted):
    logits, labels = overconfident(sharpness=sharpness)
    weights = np.random.default_rng(1).uniform(size=2000) if weighted else None
    expected = oracle(logits, np.eye(4)[labels], weights)
    layer = TemperatureScaling()
    found = layer.fit(logits, labels, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(float(layer.temperature), found, rtol=1e-6)
    assert found == pytest.approx(sharpness, rel=0.15)


def test_binary_agrees_with_scipy():
    logits, labels = overconfident(classes=2)
    expected = oracle(logits, np.eye(2)[labels], None)
    margin = logits[:, 1:] - logits[:, :1]
    for y in (labels, labels[:, np.newaxis], labels.astype(bool)):
        found = TemperatureScaling().fit(margin, y)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_soft_labels_agree_with_scipy():
    logits, _ = overconfident(n=300)
    targets = np.random.default_rng(1).dirichlet(np.ones(4), 300)
    targets = 0.5 * targets + 0.5 * special.softmax(logits, axis=1)
    found = TemperatureScaling().fit(logits, targets)
    np.testing.assert_allclose(found, oracle(logits, targets, None), rtol=1e-6)


def test_forms_of_labels_and_ranks_agree():
    logits, labels = overconfident(n=600)
    weights = np.arange(600.0)
    first = TemperatureScaling().fit(logits, labels, weights)
    shape = (30, 20)
    for y, w in (
        (labels[:, np.newaxis], weights[:, np.newaxis]),
        (np.eye(4, dtype="float32")[labels], weights),
        (labels, 1e-6 * weights),
    ):
        assert TemperatureScaling().fit(logits, y, w) == pytest.approx(first)
    found = TemperatureScaling().fit(
        logits.reshape(*shape, 4), labels.reshape(shape), weights.reshape(shape)
    )
    assert found == pytest.approx(first)


def test_weight_counts_as_repetition():
    logits, labels = overconfident(n=100)
    times = np.arange(100) % 3
    expected = TemperatureScaling().fit(
        np.repeat(logits, times, axis=0), np.repeat(labels, times)
    )
    found = TemperatureScaling().fit(logits, labels, times)
    assert found == pytest.approx(expected)


def test_offset_of_the_logits_does_not_matter():
    logits, labels = overconfident()
    expected = TemperatureScaling().fit(logits, labels)
    found = TemperatureScaling().fit(logits + 1e6, labels)
    assert found == pytest.approx(expected, rel=1e-6)


def test_calibrates_and_keeps_accuracy():
    held_out, labels = overconfident()
    layer = TemperatureScaling()
    layer.fit(held_out, labels)
    logits, labels = overconfident(seed=1)
    scaled = keras.ops.convert_to_numpy(layer(logits.astype("float32")))
    np.testing.assert_array_equal(
        scaled.argmax(axis=1), logits.astype("float32").argmax(axis=1)
    )
    errors = []
    for scores in (logits, scaled):
        error = CalibrationError(from_logits=True)
        error.update_state(labels, scores.astype("float32"))
        errors.append(float(error.result()))
    assert errors[0] > 0.2
    assert errors[1] < 0.05


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3, 4)])
def test_divides(shape):
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    y = TemperatureScaling(2.5)(x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(y), x / 2.5, rtol=1e-6
    )


def network():
    return keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(3),
            TemperatureScaling(name="scaling"),
            keras.layers.Softmax(),
        ]
    )


def test_training_does_not_move_it(digits):
    model = network()
    layer = model.get_layer("scaling")
    layer.temperature.assign(2.0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*digits, epochs=2, verbose=0)
    assert float(layer.temperature) == 2.0
    assert len(model.trainable_variables) == 2


def test_fit_reaches_a_compiled_predict(digits):
    x, y = digits
    model = network()
    before = model.predict(x, verbose=0)
    temperature = model.get_layer("scaling").fit(np.log(before), y)
    after = special.softmax(np.log(before) / temperature, axis=1)
    np.testing.assert_allclose(model.predict(x, verbose=0), after, rtol=1e-5)


def test_survives_saving_in_a_fresh_process(tmp_path, digits):
    model = network()
    model.get_layer("scaling").fit(*overconfident(classes=3))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "x.npy", digits[0])
    np.save(tmp_path / "y.npy", model.predict(digits[0], verbose=0))
    code = (
        "import keras, keras_concepts, numpy as np;"
        "model = keras.saving.load_model('model.keras');"
        "y = model.predict(np.load('x.npy'), verbose=0);"
        "np.testing.assert_allclose(y, np.load('y.npy'), rtol=1e-6)"
    )
    paths = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        check=True,
    )


def test_config_gives_back_the_arguments():
    layer = TemperatureScaling(1.7, name="scaling")
    layer.fit(*overconfident())
    copy = TemperatureScaling.from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.initial == 1.7
    assert float(copy.temperature) == pytest.approx(1.7)


def test_half_precision():
    layer = TemperatureScaling(3.0, dtype="mixed_bfloat16")
    y = layer(np.ones((2, 3), "float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    layer.fit(*overconfident())
    assert float(layer.temperature) == pytest.approx(3.0, rel=0.15)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_separable_logits_end_at_the_bound(scale):
    logits = scale * np.array([[2.0, 1.0], [0.0, 3.0]])
    with pytest.warns(UserWarning, match=r"temperature of 0\.01, since each"):
        found = TemperatureScaling().fit(logits, [0, 1])
    assert found == 0.01


def test_useless_logits_end_at_the_bound():
    logits = np.array([[2.0, 1.0], [0.0, 3.0]])
    with pytest.warns(UserWarning, match=r"temperature of 100\.0, since the"):
        found = TemperatureScaling().fit(logits, [1, 0])
    assert found == 100.0


def test_extreme_logits_are_no_trouble():
    logits = np.array([[1e4, 0.0], [1e4, 0.0], [1e4, 0.0], [0.0, 1e4]]) / 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = TemperatureScaling().fit(logits, [0, 0, 1, 1])
    assert found == pytest.approx(100 / np.log(3))


LOGITS = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LOGITS * np.nan, [0, 1]), r"must be finite. Received: 6 of 6"),
        (
            (LOGITS + np.diag([np.inf, 0, 0])[:2], [0, 1]),
            r"finite. Received: 1 of 6",
        ),
        ((LOGITS[0], [0, 1, 2]), r"at least one row.*shape \(3,\)"),
        ((LOGITS[:0], []), r"at least one row"),
        ((LOGITS, [0, 1, 2]), r"`labels`.*shape \(3,\) and .* \(2, 3\)"),
        ((LOGITS, [0, 3]), r"integers from 0 to 2. Received: 1 "),
        ((LOGITS, [0, -1]), r"integers from 0 to 2. Received: 1 "),
        ((LOGITS, [0.5, 1.0]), r"integers from 0 to 2. Received: 1 "),
        ((LOGITS, LOGITS), r"sum to 1 in each row. Received: 2"),
        ((LOGITS[:, :1], [0, 2]), r"between 0 and 1. Received: 1"),
        ((LOGITS, [0, 1], [1.0]), r"`sample_weight`.*shape \(1,\)"),
        ((LOGITS, [0, 1], [1.0, -1.0]), r"not all 0. Received:.* -1.0 to 1"),
        ((LOGITS, [0, 1], [0.0, 0.0]), r"not all 0. Received:.* 0.0 to 0.0"),
        ((LOGITS, [0, 1], [1.0, np.inf]), r"must be finite"),
    ],
)
def test_bad_data(arguments, message):
    layer = TemperatureScaling()
    with pytest.raises(ValueError, match=message):
        layer.fit(*arguments)
    assert float(layer.temperature) == 1.0


@pytest.mark.parametrize("initial", [0.0, -1.0, float("nan")])
def test_initial_is_checked(initial):
    with pytest.raises(ValueError, match=r"`initial` of `Temp.*above 0"):
        TemperatureScaling(initial)
