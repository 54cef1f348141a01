"""Names of classes and metrics, and the keys that they make in the logs."""

import contextlib
import io

import keras
import numpy as np
import pytest
from sklearn import metrics as oracle
from sklearn.preprocessing import LabelEncoder

from keras_concepts.metrics import (
    BestThresholdFBeta,
    ClassificationReport,
    ConfusionMatrix,
    F1Score,
    Precision,
)

random = np.random.default_rng(0)
X = random.normal(size=(20, 3)).astype("float32")
Y = random.integers(0, 3, 20)
WEIGHTS = random.integers(1, 5, 20).astype("float32")
SCORES = random.dirichlet(np.ones(3), 20).astype("float32")
CATS = LabelEncoder().fit(["dog", "cat", "cow"]).classes_


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (CATS, ["cat", "cow", "dog"]),
        (CATS.astype(object), ["cat", "cow", "dog"]),
        (tuple(CATS), ["cat", "cow", "dog"]),
        (np.array([10, 20, 30]), ["10", "20", "30"]),
        ([0, 1, 2], ["0", "1", "2"]),
        (range(3), ["0", "1", "2"]),
        ([b"a", b"b", b"c"], ["a", "b", "c"]),
        ([True, 0.5, None], ["True", "0.5", "None"]),
    ],
)
def test_names_as_others_give_them(names, expected, tmp_path):
    report = ClassificationReport(names)
    report.update_state(Y, SCORES)
    assert all(f"report_{name}_f1" in report.result() for name in expected)
    assert report.table() == oracle.classification_report(
        Y, SCORES.argmax(1), target_names=expected
    )
    matrix = ConfusionMatrix(class_names=names)
    matrix.update_state(Y, SCORES)
    matrix.plot(tmp_path / "matrix.png")
    for metric in (report, matrix):
        assert metric.get_config()["class_names"] == expected
        again = type(metric).from_config(metric.get_config())
        assert again.class_names == expected


@pytest.mark.parametrize("cls", [ClassificationReport, ConfusionMatrix])
def test_names_that_are_refused(cls):
    with pytest.raises(ValueError, match=r"more than once: \['cat', '1'\]"):
        cls(class_names=["cat", "dog", "cat", 1, "1"])
    for given in ("cat", {0: "cat"}, {"cat", "dog"}, 3):
        with pytest.raises(TypeError, match="must be a list of names"):
            cls(class_names=given)
    with pytest.raises(ValueError, match="name each of the 3 classes"):
        cls(class_names=["cat", "dog"], num_classes=3)


def test_classes_with_the_names_of_averages():
    for name in ("macro", "weighted", "micro"):
        with pytest.raises(ValueError, match=f"cannot contain '{name}'"):
            ClassificationReport(["portrait", name])
    report = ClassificationReport(
        ["accuracy", "weighted", "f1"], class_scores=("recall",)
    )
    report.update_state(Y, SCORES)
    found = {key: float(value) for key, value in report.result().items()}
    chosen = SCORES.argmax(1)
    recalls = oracle.recall_score(Y, chosen, average=None)
    assert found["report_accuracy"] == pytest.approx((chosen == Y).mean())
    assert found["report_accuracy_recall"] == pytest.approx(recalls[0])
    assert found["report_weighted_recall"] == pytest.approx(recalls[1])
    assert found["report_weighted_f1"] == pytest.approx(
        oracle.f1_score(Y, chosen, average="weighted")
    )


def classifier():
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, "softmax")]
    )


def test_reports_of_one_name_are_kept_apart():
    model = classifier()
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[ClassificationReport(), ClassificationReport(absent="skip")],
        weighted_metrics=[ClassificationReport()],
    )
    logs = model.fit(
        X, Y, sample_weight=WEIGHTS, verbose=0, validation_data=(X, Y, WEIGHTS)
    ).history
    chosen = model.predict(X, verbose=0).argmax(1)
    plain = oracle.f1_score(Y, chosen, average="weighted")
    weighted = oracle.f1_score(
        Y, chosen, average="weighted", sample_weight=WEIGHTS
    )
    assert plain != pytest.approx(weighted, rel=1e-3)
    for key, value in (
        ("report", plain),
        ("report_1", plain),
        ("weighted_report", weighted),
    ):
        for prefix in ("", "val_"):
            found = logs[f"{prefix}{key}_weighted_f1"]
            assert found == pytest.approx([value], rel=1e-5)


def test_reports_of_two_outputs_are_kept_apart():
    inputs = keras.Input((3,))
    first = keras.layers.Dense(1, "sigmoid", name="first")(inputs)
    other = keras.layers.Dense(1, "sigmoid", name="other")(inputs)
    model = keras.Model(inputs, [first, other])
    model.compile(
        loss=["binary_crossentropy"] * 2,
        metrics=[[BestThresholdFBeta()], [BestThresholdFBeta()]],
    )
    labels = (Y > 0).astype("float32"), (Y > 1).astype("float32")
    logs = model.evaluate(X, labels, verbose=0, return_dict=True)
    scores = model.predict(X, verbose=0)
    for name, y, p in zip(("first", "other"), labels, scores, strict=True):
        alone = BestThresholdFBeta()(y, p)
        for key in ("", "_threshold", "_bound"):
            found = logs[f"{name}_best_fbeta{key}"]
            assert found == pytest.approx(float(alone[f"best_fbeta{key}"]))


def test_a_report_alone_keeps_its_name():
    model = classifier()
    report = ClassificationReport(name="x")
    model.compile(
        loss="sparse_categorical_crossentropy",
        metrics=[report, F1Score("macro", name="y")],
    )
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert "x_macro_f1" in logs
    assert set(report.result()) == {key for key in logs if key[:2] == "x_"}


def test_a_matrix_is_not_averaged_on_the_progress_bar():
    model = classifier()
    matrix = ConfusionMatrix()
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=[matrix, F1Score("macro", name="f1")],
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        logs = model.fit(X, Y, validation_data=(X, Y)).history
    assert set(logs) == {"loss", "f1", "val_loss", "val_f1"}
    assert "matrix" not in out.getvalue()
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(matrix.result()),
        oracle.confusion_matrix(Y, model.predict(X, verbose=0).argmax(1)),
    )
    assert len(model.evaluate(X, Y, verbose=0)) == 2


def test_thresholds_as_numpy_has_them():
    limits = np.linspace(0.2, 0.8, 4)
    metric = Precision(thresholds=limits)
    metric.update_state(Y > 0, SCORES[:, 0])
    expected = [
        oracle.precision_score(Y > 0, SCORES[:, 0] > limit, zero_division=0)
        for limit in limits
    ]
    found = keras.ops.convert_to_numpy(metric.result())
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert metric.get_config()["thresholds"] == limits.tolist()
    score = F1Score(threshold=np.array([0.2, 0.3, 0.4]), class_ids=np.arange(2))
    score.update_state(np.eye(3)[Y], SCORES)
    assert score.get_config()["threshold"] == [0.2, 0.3, 0.4]
    assert score.get_config()["class_ids"] == [0, 1]
    assert F1Score(threshold=np.float32(0.5)).threshold == 0.5


@pytest.mark.parametrize(
    "options", [{}, {"thresholds": 0.5}, {"thresholds": [0.25]}]
)
def test_thresholds_of_logits_are_probabilities(options):
    logits = 3 * random.normal(size=(20, 1))
    metric = Precision(from_logits=True, **options)
    metric.update_state(Y > 0, logits)
    limit = np.ravel(options.get("thresholds", 0.5))[0]
    expected = oracle.precision_score(Y > 0, 1 / (1 + np.exp(-logits)) > limit)
    found = keras.ops.convert_to_numpy(metric.result())
    assert found == pytest.approx(expected)
