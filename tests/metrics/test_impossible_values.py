"""Impossible labels and predictions are never counted silently."""

import warnings

import keras
import numpy as np
import pytest

from keras_concepts.metrics import (
    BalancedAccuracy,
    BestThresholdFBeta,
    BrierScore,
    CalibrationError,
    ClassificationReport,
    CohenKappa,
    ConfusionMatrix,
    F1Score,
    FBetaScore,
    MatthewsCorrelation,
    Precision,
    Recall,
)

COMPILED = keras.backend.backend() != "torch"  # where `fit` is eager
random = np.random.default_rng(0)
LABELS = random.integers(0, 3, 12)
SCORES = random.dirichlet(np.ones(3), 12).astype("float32")
ONE_CLASS = [
    BalancedAccuracy,
    BrierScore,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrelation,
]
SEVERAL = [CalibrationError, ClassificationReport, F1Score, FBetaScore]
METRICS = [
    *ONE_CLASS,
    *SEVERAL,
    lambda **options: BestThresholdFBeta(class_id=1, **options),
    lambda **options: Precision(average="macro", **options),
]


def first(labels, value):
    """A copy of the labels that begins with a value."""
    labels = labels.astype("float64" if isinstance(value, float) else "int64")
    labels[0] = value
    return labels


@pytest.mark.parametrize("make", METRICS)
@pytest.mark.on_cpu
class TestLabels:
    @pytest.mark.parametrize("value", [-1, 3, 255, 0.5, float("nan")])
    def test_class_numbers(self, make, value):
        labels = first(LABELS, value)
        with pytest.raises(ValueError, match="must lie between 0 and 2"):
            make().update_state(labels, SCORES)
        weights = (np.arange(12) > 0).astype("float32")
        make().update_state(labels, SCORES, weights)
        make(ignore_class=int(value) if value == value else value).update_state(
            np.where(labels == 0.5, 0, labels), SCORES
        )

    @pytest.mark.parametrize("value", [-1, 2, float("nan")])
    def test_labels_of_each_class(self, make, value):
        labels = first(np.eye(3)[LABELS], value)
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            make().update_state(labels, SCORES)
        weights = (np.arange(12) > 0).astype("float32")
        make().update_state(labels, SCORES, weights)

    def test_names_are_no_numbers(self, make):
        names = np.array(["cat", "dog", "cow"])[LABELS]
        for given in (names, names.tolist(), names.astype(object)):
            with pytest.raises(
                TypeError, match=r"Labels of .* must be numbers"
            ):
                make().update_state(given, SCORES)


@pytest.mark.parametrize("cls", ONE_CLASS)
@pytest.mark.parametrize("classes", [0, 2])
@pytest.mark.on_cpu
def test_rows_of_one_class(cls, classes):
    """Of no or two classes in a row, the first would be taken."""
    labels = np.eye(3)[LABELS]
    labels[4] = np.arange(3) < classes
    with pytest.raises(ValueError, match="must be one class per row"):
        cls().update_state(labels, SCORES)
    soft = random.dirichlet(np.ones(3), 12).astype("float16")
    cls().update_state(soft, SCORES)


@pytest.mark.parametrize("cls", [Precision, Recall])
@pytest.mark.parametrize("value", [-1, 2, float("nan")])
@pytest.mark.on_cpu
def test_single_decisions(cls, value):
    labels = first(LABELS > 0, value)
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        cls().update_state(labels, SCORES[:, 0])


def evaluated(metrics, labels, inputs):
    """The logs of metrics of a model that outputs its inputs."""
    model = keras.Sequential(
        [keras.Input(inputs.shape[1:]), keras.layers.Activation("linear")]
    )
    model.compile(loss=lambda y, p: keras.ops.mean(p), metrics=metrics)
    return model.evaluate(inputs, labels, 4, verbose=0, return_dict=True)


@pytest.mark.skipif(not COMPILED, reason="raises, as everywhere in torch")
class TestInACompiledStep:
    @pytest.mark.parametrize("value", [-1, 7])
    def test_class_numbers(self, value):
        metrics = [
            F1Score("macro", name="f1"),
            MatthewsCorrelation(name="mcc"),
            ClassificationReport(name="report"),
            CalibrationError(name="error"),
        ]
        with pytest.warns(UserWarning, match="labels are impossible") as said:
            logs = evaluated(metrics, first(LABELS, value), SCORES)
        assert len(said) == 4
        for name in (
            "f1",
            "mcc",
            "report_accuracy",
            "report_macro_f1",
            "error",
        ):
            assert np.isnan(logs[name]), name
        for metric in metrics:
            metric.reset_state()
            metric.update_state(LABELS, SCORES)
        assert not np.isnan(float(metrics[0].result()))

    @pytest.mark.parametrize("value", [-1, 2, float("nan")])
    def test_labels_of_each_class(self, value):
        labels = first(np.eye(3)[LABELS], value)
        with pytest.warns(UserWarning, match="labels are impossible"):
            logs = evaluated([F1Score("macro", name="f1")], labels, SCORES)
        assert np.isnan(logs["f1"])

    def test_rows_of_two_classes(self):
        labels = np.eye(3)[LABELS] + np.eye(3)[(LABELS + 1) % 3]
        with pytest.warns(UserWarning, match="do not sum to 1"):
            logs = evaluated([BrierScore(name="brier")], labels, SCORES)
        assert np.isnan(logs["brier"])

    def test_what_is_told_is_left_out(self):
        labels = first(LABELS, -1)
        metric = F1Score("macro", name="f1", ignore_class=-1)
        logs = evaluated([metric], labels, SCORES)
        wanted = F1Score("macro")(LABELS[1:], SCORES[1:])
        assert logs["f1"] == pytest.approx(float(wanted))


def with_warnings(call):
    """What a call returns, and its warnings about logits."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        result = call()
    messages = [str(warning.message) for warning in caught]
    return result, [m for m in messages if "pass `from_logits=True`" in m]


BINARY = random.integers(0, 2, 12)
LOGITS = (4 * random.normal(size=(12, 1))).astype("float32")


@pytest.mark.parametrize(
    ("make", "is_nan"),
    [
        (F1Score, False),
        (Precision, False),
        (BalancedAccuracy, False),
        (ConfusionMatrix, False),
        (BestThresholdFBeta, False),
        (ClassificationReport, False),
        (BrierScore, True),
        (CalibrationError, True),
    ],
)
class TestLogitsOfASigmoid:
    def test_is_said_once(self, make, is_nan):
        metric = make()

        def twice():
            metric.update_state(BINARY, LOGITS)
            metric.update_state(BINARY, LOGITS)
            return metric.result()

        result, said = with_warnings(twice)
        assert len(said) == 1
        if is_nan:
            assert np.isnan(float(result))

    def test_in_evaluate(self, make, is_nan):
        metric = make(name="x")
        logs, said = with_warnings(lambda: evaluated([metric], BINARY, LOGITS))
        assert len(said) == 1
        if is_nan:
            assert np.isnan(logs["x"])

    def test_no_false_alarm(self, make, is_nan):
        with warnings.catch_warnings(action="error"):
            for metric, scores in (
                (make(from_logits=True), LOGITS),
                (make(), keras.ops.sigmoid(LOGITS)),
                (make(), keras.ops.sigmoid(keras.ops.cast(LOGITS, "bfloat16"))),
            ):
                metric.update_state(BINARY, scores)
                metric.result()
            # What does not count may hold anything.
            metric = make()
            scores = np.where(LOGITS > 0, LOGITS, 0.5)
            metric.update_state(BINARY, scores, LOGITS[:, 0] < 0)
            metric.result()


@pytest.mark.parametrize(
    ("make", "warns"),
    [
        (lambda: F1Score("macro"), False),
        (lambda: F1Score("macro", top_k=2), False),
        (lambda: F1Score("macro", threshold=0.5), True),
        (lambda: FBetaScore(threshold=[0.5, 0.5, 0.5]), True),
        (MatthewsCorrelation, False),
        (lambda: Precision(top_k=1), False),
        (lambda: Precision(thresholds=0.5, top_k=1), True),
        (BrierScore, True),
    ],
)
@pytest.mark.on_cpu
def test_only_where_scores_are_compared_with_probabilities(make, warns):
    labels = np.eye(3)[LABELS]
    logits = (4 * random.normal(size=(12, 3))).astype("float32")
    _, said = with_warnings(lambda: make().update_state(labels, logits))
    assert bool(said) == warns


def test_predictions_without_an_axis():
    with pytest.raises(ValueError, match=r"y_pred.shape=\(\)"):
        F1Score().update_state(1, 0.5)
