"""Metrics in `fit` are scikit-learn's on the same predictions."""

import csv
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from sklearn import metrics as oracle

from keras_concepts.metrics import (
    BestThresholdFBeta,
    CalibrationError,
    ClassificationReport,
    CohenKappa,
    ConfusionMatrix,
    F1Score,
    MatthewsCorrelation,
    Precision,
    Recall,
)

BACKEND = keras.backend.backend()
random = np.random.default_rng(0)
X = random.normal(size=(50, 6)).astype("float32")
Y = random.integers(0, 3, 50)
X_VAL = random.normal(size=(37, 6)).astype("float32")
Y_VAL = random.integers(0, 3, 37)


def f1(y_true, predicted, **options):
    return oracle.f1_score(y_true, predicted, average="macro", **options)


def classifier():
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, "tanh"),
            keras.layers.Dense(3, "softmax"),
        ]
    )


JIT = [
    pytest.param(
        True,
        marks=pytest.mark.skipif(
            BACKEND == "torch", reason="torch.compile takes a minute"
        ),
    ),
    False,
]


@pytest.mark.parametrize("jit_compile", JIT)
def test_epochs_with_a_partial_batch(jit_compile):
    model = classifier()
    model.compile(
        # Weights that stay make the epoch's predictions known.
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[
            F1Score("macro", name="f1"),
            Precision(average="macro", name="precision"),
            Recall(average="macro", name="recall"),
            MatthewsCorrelation(name="matthews"),
            CohenKappa(name="kappa"),
            ClassificationReport(name="report"),
            CalibrationError(name="calibration"),
        ],
        weighted_metrics=[F1Score("macro", name="weighted_f1")],
        jit_compile=jit_compile,
    )
    weights = random.integers(1, 9, 50) / 4
    history = model.fit(
        X,
        Y,
        batch_size=16,
        epochs=2,
        verbose=0,
        sample_weight=weights,
        validation_data=(X_VAL, Y_VAL),
    ).history
    for prefix, x, y, w in (
        ("", X, Y, weights),
        ("val_", X_VAL, Y_VAL, None),
    ):
        predicted = model.predict(x, verbose=0).argmax(axis=1)
        expected = {
            "f1": f1(y, predicted),
            "weighted_f1": f1(y, predicted, sample_weight=w),
            "precision": oracle.precision_score(y, predicted, average="macro"),
            "recall": oracle.recall_score(y, predicted, average="macro"),
            "matthews": oracle.matthews_corrcoef(y, predicted),
            "kappa": oracle.cohen_kappa_score(y, predicted),
            "report_accuracy": oracle.accuracy_score(y, predicted),
            "report_macro_f1": f1(y, predicted),
        }
        for name, score in expected.items():
            found = history[prefix + name]
            expected_twice = pytest.approx([score, score], rel=1e-6, abs=1e-7)
            assert found == expected_twice, name


def test_two_outputs():
    inputs = keras.Input((6,))
    several = keras.layers.Dense(3, "softmax", name="several")(inputs)
    one = keras.layers.Dense(1, "sigmoid", name="one")(inputs)
    model = keras.Model(inputs, {"several": several, "one": one})
    model.compile(
        "adam",
        {
            "several": "sparse_categorical_crossentropy",
            "one": "binary_crossentropy",
        },
        metrics={
            "several": [F1Score("macro", name="f1")],
            "one": [F1Score("macro", name="f1"), BestThresholdFBeta()],
        },
    )
    positive = (Y > 1).astype("float32")
    positive_val = (Y_VAL > 1).astype("float32")
    history = model.fit(
        X,
        {"several": Y, "one": positive},
        batch_size=16,
        epochs=2,
        verbose=0,
        validation_data=(X_VAL, {"several": Y_VAL, "one": positive_val}),
    ).history
    predicted = model.predict(X_VAL, verbose=0)
    assert history["val_several_f1"][-1] == pytest.approx(
        f1(Y_VAL, predicted["several"].argmax(axis=1)), rel=1e-6
    )
    assert history["val_one_f1"][-1] == pytest.approx(
        oracle.f1_score(positive_val, predicted["one"][:, 0] > 0.5), rel=1e-6
    )
    threshold = history["val_best_fbeta_threshold"][-1]
    assert history["val_best_fbeta"][-1] == pytest.approx(
        oracle.f1_score(positive_val, predicted["one"][:, 0] > threshold)
    )


def test_masks_of_sequences():
    """Padding is left out where Keras delivers the mask: not in JAX's `fit`."""
    words = random.integers(1, 9, (40, 7))
    labels = words % 3
    lengths = random.integers(1, 8, 40)
    padding = np.arange(7) >= lengths[:, None]
    words[padding] = 0
    labels[padding] = 0
    model = keras.Sequential(
        [
            keras.layers.Embedding(9, 4, mask_zero=True),
            keras.layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[
            F1Score("macro", name="f1"),
            F1Score("macro", name="unmasked", use_mask=False),
        ],
    )
    history = model.fit(words, labels, verbose=0).history
    evaluated = model.evaluate(words, labels, verbose=0, return_dict=True)
    predicted = model.predict(words, verbose=0).argmax(axis=-1)
    masked = f1(labels[~padding], predicted[~padding])
    unmasked = f1(labels.ravel(), predicted.ravel())
    assert masked != pytest.approx(unmasked, rel=1e-3)
    assert evaluated["f1"] == pytest.approx(masked, rel=1e-6)
    assert evaluated["unmasked"] == pytest.approx(unmasked, rel=1e-6)
    in_fit = unmasked if BACKEND == "jax" else masked
    assert history["f1"] == pytest.approx([in_fit], rel=1e-6)


def test_report_serves_other_callbacks(tmp_path):
    model = classifier()
    report = ClassificationReport(
        ["cat", "dog", "cow"], class_scores=("recall", "f1")
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=[report])
    path = tmp_path / "log.csv"
    history = model.fit(
        X,
        Y,
        epochs=6,
        verbose=0,
        validation_data=(X_VAL, Y_VAL),
        callbacks=[
            keras.callbacks.CSVLogger(path),
            keras.callbacks.EarlyStopping(
                "val_report_macro_f1", mode="max", patience=100
            ),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.weights.h5",
                "val_report_dog_f1",
                mode="max",
                save_best_only=True,
                save_weights_only=True,
            ),
        ],
    ).history
    with open(path) as file:
        rows = list(csv.DictReader(file))
    for key in ("val_report_macro_f1", "report_cat_recall", "report_accuracy"):
        written = [float(row[key]) for row in rows]
        assert written == pytest.approx(history[key])
    predicted = model.predict(X_VAL, verbose=0).argmax(axis=1)
    expected = oracle.f1_score(Y_VAL, predicted, average=None)
    assert history["val_report_dog_f1"][-1] == pytest.approx(expected[1])


def test_matrix_after_evaluate():
    model = classifier()
    matrix = ConfusionMatrix()
    model.compile(loss="sparse_categorical_crossentropy", metrics=[matrix])
    model.evaluate(X, Y, verbose=0)
    predicted = model.predict(X, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(matrix.result()),
        oracle.confusion_matrix(Y, predicted),
    )


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = classifier()
    finally:
        keras.config.set_dtype_policy("float32")
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[F1Score("macro", name="f1")],
    )
    history = model.fit(X, Y, verbose=0).history
    outputs = keras.ops.convert_to_numpy(keras.ops.cast(model(X), "float32"))
    assert history["f1"] == pytest.approx(
        [f1(Y, outputs.argmax(axis=1))], rel=1e-6
    )


REPLICAS = """
import keras, numpy as np
from sklearn import metrics as oracle
from keras_concepts.metrics import CalibrationError, F1Score

x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
y = x[:, :3].argmax(axis=1)
with scope():
    inputs = keras.Input((6,))
    outputs = keras.layers.Dense(3, "softmax")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[F1Score("macro", name="f1"), CalibrationError()],
    )
    history = model.fit(x, y, 16, epochs=2, verbose=0).history
predicted = model.predict(x, verbose=0).argmax(axis=1)
expected = oracle.f1_score(y, predicted, average="macro")
np.testing.assert_allclose(history["f1"], expected, rtol=1e-6)
alone = CalibrationError()(y, model.predict(x, verbose=0))
np.testing.assert_allclose(
    history["calibration_error"], float(alone), rtol=1e-5
)
"""
TWO_DEVICES = {
    "tensorflow": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
scope = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope
""",
    "jax": """
import contextlib, keras
keras.distribution.set_distribution(keras.distribution.DataParallel())
scope = contextlib.nullcontext
""",
}


@pytest.mark.skipif(BACKEND == "torch", reason="needs several processes")
def test_replicas_are_summed():
    flags = os.environ.get("XLA_FLAGS", "")
    flags += " --xla_force_host_platform_device_count=2"
    environment = {**os.environ, "XLA_FLAGS": flags}
    subprocess.run(
        [sys.executable, "-c", TWO_DEVICES[BACKEND] + REPLICAS],
        env=environment,
        check=True,
    )
