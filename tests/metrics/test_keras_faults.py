"""What `keras.metrics` gets wrong and ours get right.

Each test shows the fault first: if Keras fixes it, the test fails and says so.
"""

import keras
import numpy as np
import pytest
from sklearn import metrics as oracle

from keras_concepts.metrics import (
    BalancedAccuracy,
    BestThresholdFBeta,
    F1Score,
    FBetaScore,
    MatthewsCorrelation,
    Precision,
    Recall,
)


def number(metric, *arguments):
    metric.update_state(*arguments)
    return float(metric.result())


def test_integer_labels():
    labels = np.arange(100)[:, None] % 3
    perfect = np.eye(3, dtype="float32")[labels[:, 0]]
    faulty = number(keras.metrics.F1Score("macro"), labels, perfect)
    assert faulty == pytest.approx(0.5, abs=0.01)
    assert number(F1Score("macro"), labels, perfect) == 1


def test_one_column():
    labels = np.array([[0], [1], [0], [0]])
    scores = np.array([[0.2], [0.9], [0.1], [0.3]], "float32")
    faulty = number(keras.metrics.F1Score("macro"), labels, scores)
    assert faulty == pytest.approx(0.4)  # everything is called positive
    assert number(F1Score("macro"), labels, scores) == 1


def test_classes_that_are_absent():
    labels = np.eye(5)[[0, 1, 2, 2]]
    faulty = number(keras.metrics.F1Score("macro"), labels, labels)
    assert faulty == pytest.approx(0.6)
    assert number(F1Score("macro", absent="skip"), labels, labels) == 1


def test_small_and_tied_scores():
    labels, scores = np.eye(3)[[0, 1]], np.array([[1e-10, 0, 0], [0, 1, 1]])
    keras_metric = keras.metrics.F1Score("micro")
    # Nothing is predicted for the first row, two classes for the second.
    assert number(keras_metric, labels, scores) == pytest.approx(0.5)
    assert number(F1Score("micro"), labels, scores) == 1


def test_sequences():
    labels = np.array([[0, 1, 2], [2, 1, 0]])
    scores = np.eye(3, dtype="float32")[labels]
    with pytest.raises(ValueError, match="2D"):
        keras.metrics.F1Score().update_state(scores, scores)
    assert number(F1Score("macro"), labels, scores) == 1


def test_weights_as_a_column():
    labels = np.eye(2)[[0, 1, 1]]
    scores = np.eye(2)[[0, 0, 1]]
    weights = np.array([[1.0], [4.0], [1.0]])
    expected = oracle.f1_score(
        [0, 1, 1], [0, 0, 1], average="micro", sample_weight=weights[:, 0]
    )
    assert number(F1Score("micro"), labels, scores, weights) == pytest.approx(
        expected
    )
    faulty = keras.metrics.F1Score("micro")
    faulty.update_state(labels, scores, weights)
    total = float(faulty.intermediate_weights)
    assert total == pytest.approx(18)  # of 6
    ours = F1Score("micro")
    ours.update_state(labels, scores, weights)
    assert float(ours.intermediate_weights) == 6


@pytest.mark.parametrize(
    ("keras_class", "our_class"),
    [
        (keras.metrics.F1Score, F1Score),
        (keras.metrics.FBetaScore, FBetaScore),
        (keras.metrics.Precision, Precision),
        (keras.metrics.Recall, Recall),
    ],
)
def test_counters_stop_at_2_to_the_24(keras_class, our_class):
    faulty, ours = keras_class(), our_class()
    one = np.array([[1.0, 0.0]], "float32")
    for metric in (faulty, ours):
        metric.update_state(one, one, np.array([2.0**24], "float32"))
        for _ in range(50):
            metric.update_state(one, one)

    def hits(metric):
        return keras.ops.convert_to_numpy(metric.true_positives).flat[0]

    assert hits(faulty) == 2**24
    assert hits(ours) == 2**24 + 50


# JAX has no int64, which Keras asks for here.
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64")
def test_integer_counters_overflow():
    """`keras.metrics.MeanIoU` counts in int32, which ends at 2**31."""
    labels = np.array([0], "int32")
    weights = np.array([2**30], "int32")
    iou = keras.metrics.MeanIoU(2)
    ours = F1Score("micro")
    for _ in range(3):
        iou.update_state(labels, labels, weights)
        ours.update_state(labels, np.array([[1.0, 0.0]]), weights)
    total = float(keras.ops.convert_to_numpy(iou.total_cm).sum())
    if keras.backend.backend() != "tensorflow":
        assert total != 3 * 2.0**30
    assert float(ours.true_positives) == 3 * 2**30


def test_state_ignores_dtype():
    """A dtype is that of the result; counts are exact with any."""
    metric = F1Score("macro", dtype="float16")
    one = np.array([[1.0, 0.0]])
    metric.update_state(one, one, [2048.0])
    metric.update_state(one, one)
    assert keras.backend.standardize_dtype(metric.result().dtype) == "float16"
    assert metric.variables[0].dtype in ("float32", "float64")
    assert float(metric.true_positives[0]) == 2049

    faulty = keras.metrics.F1Score("macro", dtype="float16")
    faulty.update_state(one, one, [2048.0])
    faulty.update_state(one, one)
    hits = keras.ops.convert_to_numpy(faulty.true_positives)
    assert float(hits[0]) == 2048


def test_masks():
    """Four steps of six are padding, the rest is perfect."""
    labels = np.array([[1, 1, 0, 0, 0, 0]])
    scores = np.array([[1, 1, 1, 1, 1, 1]], "float32")
    mask = np.array([[True, True, False, False, False, False]])

    def masked():
        tensor = keras.ops.convert_to_tensor(scores)
        tensor._keras_mask = keras.ops.convert_to_tensor(mask)
        return tensor

    faulty = number(keras.metrics.Precision(), labels, masked())
    assert faulty == pytest.approx(1 / 3)
    assert number(Precision(), labels, masked()) == 1
    assert number(Precision(use_mask=False), labels, masked()) == pytest.approx(
        1 / 3
    )
    three = keras.ops.convert_to_tensor(
        np.eye(2, dtype="float32")[labels * 0 + 1]
    )
    three._keras_mask = keras.ops.convert_to_tensor(mask)
    for metric in (F1Score("micro"), BalancedAccuracy(), BestThresholdFBeta()):
        metric.update_state(labels, three)
        result = metric.result()
        if isinstance(result, dict):
            result = result["best_fbeta"]
        assert float(result) == 1


def test_several_values_in_the_logs():
    """`average=None` puts an array into the logs; so callbacks fail on it."""
    model = keras.Sequential([keras.layers.Dense(2, "softmax")])
    model.compile(
        loss="sparse_categorical_crossentropy", metrics=[F1Score(name="f1")]
    )
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])
    stop = keras.callbacks.EarlyStopping("f1", mode="max", patience=1)
    with pytest.raises((ValueError, RuntimeError), match="ambiguous"):
        model.fit(x, y, epochs=3, verbose=0, callbacks=[stop])


def test_matthews_by_the_textbook_formula():
    tp, fp, fn, tn = 900.0, 1_100.0, 100.0, 9_997_900.0
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    expected = (tp * tn - fp * fn) / product**0.5
    with np.errstate(over="ignore"):
        cells = np.float32([tp, fp, fn, tn]) * np.float32(1e5)
        a, b, c, d = cells
        naive = (a * d - b * c) / np.sqrt((a + b) * (a + c) * (d + b) * (d + c))
    assert not np.isclose(naive, expected)
    metric = MatthewsCorrelation()
    for true, predicted, cell in zip(
        [1, 0, 1, 0], [1, 1, 0, 0], cells, strict=True
    ):
        metric.update_state([true], np.eye(2)[[predicted]], [cell])
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)


def test_rare_events_in_even_bins():
    """200 even thresholds see one bin where ours see thousands."""
    random = np.random.default_rng(0)
    logits = random.normal(-9, 1, 20_000)
    labels = random.random(20_000) < 1 / (1 + np.exp(-3 * (logits + 6.5)))
    probabilities = (1 / (1 + np.exp(-logits))).astype("float32")
    area = keras.metrics.AUC()
    area.update_state(labels, probabilities)
    assert (
        float(area.result()) < oracle.roc_auc_score(labels, probabilities) - 0.1
    )
    best = BestThresholdFBeta()(labels, probabilities)
    even = max(
        oracle.f1_score(labels, probabilities > limit, zero_division=0)
        for limit in np.linspace(0, 1, 200)
    )
    assert float(best["best_fbeta"]) > even + 0.1
