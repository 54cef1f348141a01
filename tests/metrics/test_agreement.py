"""Balanced accuracy, Matthews, kappa and the matrix are scikit-learn's."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from keras_concepts._labels.class_amounts import Indices
from keras_concepts._labels.rows import Rows
from keras_concepts.metrics import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrelation,
)

PAIRS = {
    "balanced": (BalancedAccuracy, oracle.balanced_accuracy_score, {}),
    "adjusted": (
        BalancedAccuracy,
        oracle.balanced_accuracy_score,
        {"adjusted": True},
    ),
    "matthews": (MatthewsCorrelation, oracle.matthews_corrcoef, {}),
    "kappa": (CohenKappa, oracle.cohen_kappa_score, {}),
    "linear": (CohenKappa, oracle.cohen_kappa_score, {"weights": "linear"}),
    "quadratic": (
        CohenKappa,
        oracle.cohen_kappa_score,
        {"weights": "quadratic"},
    ),
}


@settings(max_examples=60)
@given(
    st.sampled_from(list(PAIRS)),
    st.integers(0, 999),
    st.sampled_from([2, 5]),
    st.booleans(),
    st.sampled_from(["numbers", "one-hot", "soft"]),
)
# All labels one class: 0 / 0 in scikit-learn, which says so.
@pytest.mark.filterwarnings("ignore:.* contain:UserWarning")
@pytest.mark.filterwarnings("ignore:.*class.*:UserWarning")
def test_equals_scikit_learn(name, seed, classes, weighted, form):
    random = np.random.default_rng(seed)
    y_true = random.integers(0, classes, 24)
    predicted = np.where(
        random.random(24) < 0.6, y_true, random.integers(0, classes, 24)
    )
    y_pred = np.eye(classes)[predicted] + random.random((24, classes)) / 2
    weights = random.integers(1, 9, 24) / 4 if weighted else None
    our_class, reference, options = PAIRS[name]
    labels = {
        "numbers": y_true,
        "one-hot": np.eye(classes, dtype="int32")[y_true],
        "soft": 0.9 * np.eye(classes)[y_true] + 0.1 / classes,
    }[form]
    metric = our_class(**options)
    for part in (slice(0, 12), slice(12, 24)):
        metric.update_state(
            labels[part],
            y_pred[part],
            None if weights is None else weights[part],
        )
    if our_class is CohenKappa:
        # Or it would renumber the classes, and so change their distances.
        options = {**options, "labels": range(classes)}
    expected = reference(y_true, predicted, sample_weight=weights, **options)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("name", PAIRS)
def test_one_column(name):
    random = np.random.default_rng(0)
    y_true, y_pred = random.integers(0, 2, 24), random.random(24)
    our_class, reference, options = PAIRS[name]
    for threshold in (None, 0.25):
        metric = our_class(threshold=threshold, **options)
        metric.update_state(y_true, y_pred[:, None])
        predicted = y_pred > (threshold or 0.5)
        expected = reference(y_true, predicted, **options)
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_threshold_is_for_one_column():
    with pytest.raises(ValueError, match="single column"):
        CohenKappa(threshold=0.5).update_state(np.zeros(3), np.zeros((3, 2)))


@pytest.mark.parametrize("name", ["matthews", "kappa"])
def test_one_class_only(name):
    metric = PAIRS[name][0]()
    metric.update_state(np.zeros(4), np.eye(2)[[0, 0, 0, 0]])
    assert float(metric.result()) == 0


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.filterwarnings("ignore:.*class.*:UserWarning")
def test_one_class_predicted_for_weighted_rows(name):
    """Sums of fractions, in another order, differ by their rounding."""
    random = np.random.default_rng(0)
    our_class, reference, options = PAIRS[name]
    metric = our_class(num_classes=4, **options)
    for _ in range(20):
        y_true = random.integers(0, 4, 32)
        weights = random.uniform(0, 1, 32).astype("float32")
        metric.reset_state()
        metric.update_state(y_true, np.eye(4)[np.full(32, 1)], weights)
        expected = reference(
            y_true, np.full(32, 1), sample_weight=weights, **options
        )
        assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_kappa_where_it_is_undefined():
    metric = CohenKappa(zero_division=float("nan"))
    metric.update_state(np.zeros(4), np.eye(2)[[0, 0, 0, 0]])
    assert np.isnan(float(metric.result()))


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.on_cpu
def test_rows_without_a_class_do_not_count(name):
    """Where they weigh nothing they may hold any label."""
    random = np.random.default_rng(0)
    y_true, y_pred = random.integers(0, 3, 24), random.random((24, 3))
    our_class, _, options = PAIRS[name]
    alone, beside = our_class(**options), our_class(**options)
    alone.update_state(y_true[4:], y_pred[4:])
    y_true[:4] = [-1, 3, -100, 255]
    with pytest.raises(ValueError, match="labels from -100 to 255"):
        our_class(**options).update_state(y_true, y_pred)
    beside.update_state(y_true, y_pred, np.arange(24) >= 4)
    assert float(alone.result()) == float(beside.result())


def test_rare_classes():
    """Counts of a click prediction: 20 million rows, one in 10,000 positive."""
    tp, fp, fn = 1_500, 2_500, 500
    tn = 20_000_000 - tp - fp - fn
    metric = MatthewsCorrelation()
    kappa = CohenKappa()
    for true, predicted, count in (
        (1, 1, tp),
        (0, 1, fp),
        (1, 0, fn),
        (0, 0, tn),
    ):
        for each in (metric, kappa):
            each.update_state([true], np.eye(2)[[predicted]], [float(count)])
    product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    expected = (tp * tn - fp * fn) / product**0.5
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    rows = tp + fp + fn + tn
    chance = (tp + fn) * (tp + fp) + (tn + fp) * (tn + fn)
    expected = 1 - (fp + fn) / rows / (1 - chance / rows**2)
    assert float(kappa.result()) == pytest.approx(expected, rel=1e-6)


class TestConfusionMatrix:
    random = np.random.default_rng(0)
    y_true = random.integers(0, 4, 40)
    y_pred = random.random((40, 4))
    weights = random.integers(1, 9, 40) / 4

    @pytest.mark.parametrize("normalize", [None, "true", "pred", "all"])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_equals_scikit_learn(self, normalize, weighted):
        weights = self.weights if weighted else None
        metric = ConfusionMatrix(normalize)
        metric.update_state(self.y_true, self.y_pred, weights)
        expected = oracle.confusion_matrix(
            self.y_true,
            self.y_pred.argmax(1),
            normalize=normalize,
            sample_weight=weights,
        )
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(metric.result()), expected, rtol=1e-6
        )

    @pytest.mark.on_cpu
    def test_labels_that_are_no_class(self):
        metric = ConfusionMatrix(ignore_class=-1)
        with pytest.raises(ValueError, match="between 0 and 3"):
            metric.update_state([-1, 4, 2], np.eye(4)[[0, 1, 3]])
        metric.update_state([-1, -1, 2], np.eye(4)[[0, 1, 3]])
        found = keras.ops.convert_to_numpy(metric.result())
        assert found.sum() == found[2, 3] == 1

    def test_plot(self, tmp_path):
        metric = ConfusionMatrix(class_names=["a", "b", "c", "d"])
        metric.update_state(self.y_true, self.y_pred)
        figure = metric.plot(tmp_path / "matrix.png")
        assert (tmp_path / "matrix.png").stat().st_size > 5_000
        texts = [text.get_text() for text in figure.axes[0].texts]
        expected = oracle.confusion_matrix(self.y_true, self.y_pred.argmax(1))
        assert texts == [str(cell) for cell in expected.ravel()]


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
@pytest.mark.parametrize("masked", [False, True])
def test_distances_that_overflow_integers(weights, masked):
    """They add up to more than 2**31 in one batch."""
    rows = 1100 if weights == "quadratic" else 1_100_000
    true = np.array([0, 999] * rows)
    scores = np.eye(1000, dtype="float32")[[999, 0]]
    metric = CohenKappa(weights, ignore_class=5 if masked else None)
    if weights == "linear":  # without a table of a million rows
        labels = Indices(keras.ops.cast(true[:, None], "int32"), 1000)
        predicted = keras.ops.cast(999 - true[:, None], "int32")
        metric.update_state([0, 999], scores)
        weight = keras.ops.ones((len(true), 1), "int32") if masked else None
        given = Rows(labels, keras.ops.zeros((len(true), 1)), weight)
        metric._add(given, labels, Indices(predicted, 1000))
    else:
        metric.update_state(true, np.tile(scores, (rows, 1)))
    assert float(metric.result()) == pytest.approx(-1, abs=1e-6)
