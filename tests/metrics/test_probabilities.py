"""Brier score, calibration, best threshold against scikit-learn and NumPy."""

import keras
import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as oracle
from sklearn.calibration import calibration_curve

from keras_concepts.metrics import (
    BestThresholdFBeta,
    BrierScore,
    CalibrationError,
    F1Score,
    FBetaScore,
)

random = np.random.default_rng(0)
LOGITS = random.normal(size=(200, 4)).astype("float32") * 2
LABELS = random.integers(0, 4, 200)
BINARY_LOGITS = (random.normal(size=200) * 2).astype("float32")
BINARY = (random.random(200) < expit(BINARY_LOGITS)).astype("int32")
WEIGHTS = (random.integers(1, 9, 200) / 4).astype("float32")


def streamed(metric, y_true, y_pred, weights=None):
    for part in (slice(0, 100), slice(100, 200)):  # JAX compiles each size
        metric.update_state(
            y_true[part],
            y_pred[part],
            None if weights is None else weights[part],
        )
    return metric.result()


class TestBrierScore:
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    @pytest.mark.parametrize("from_logits", [False, True])
    @pytest.mark.parametrize("half", [False, True])
    def test_several_classes(self, weights, from_logits, half):
        probabilities = softmax(LOGITS.astype("float64"), axis=1)
        expected = oracle.brier_score_loss(
            LABELS, probabilities, sample_weight=weights, scale_by_half=half
        )
        for labels in (LABELS, np.eye(4)[LABELS]):
            metric = BrierScore(half, from_logits=from_logits)
            given = LOGITS if from_logits else probabilities
            found = streamed(metric, labels, given, weights)
            assert float(found) == pytest.approx(expected, rel=1e-5)

    @pytest.mark.parametrize("from_logits", [False, True])
    def test_one_column(self, from_logits):
        given = BINARY_LOGITS if from_logits else expit(BINARY_LOGITS)
        expected = oracle.brier_score_loss(BINARY, expit(BINARY_LOGITS))
        metric = BrierScore(from_logits=from_logits)
        assert float(streamed(metric, BINARY, given)) == pytest.approx(expected)


def calibration_oracle(confidence, hits, weights, edges, norm):
    bins = np.searchsorted(edges, confidence)
    gaps, shares = [], []
    for number in range(len(edges) + 1):
        w = weights[bins == number]
        if len(w):
            gap = hits[bins == number] - confidence[bins == number]
            gaps.append(abs(np.sum(w * gap) / w.sum()))
            shares.append(w.sum() / weights.sum())
    gaps, shares = np.array(gaps), np.array(shares)
    return {
        "l1": np.sum(shares * gaps),
        "l2": np.sqrt(np.sum(shares * gaps**2)),
        "max": gaps.max(),
    }[norm]


class TestCalibrationError:
    @pytest.mark.parametrize("norm", ["l1", "l2", "max"])
    @pytest.mark.parametrize("spacing", ["even", "logit"])
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_several_classes(self, norm, spacing, from_logits):
        probabilities = softmax(LOGITS, axis=1)
        confidence = probabilities.max(axis=1).astype("float64")
        hits = probabilities.argmax(axis=1) == LABELS
        edges = np.linspace(0, 1, 11)[1:-1]
        if spacing == "logit":
            edges = expit(np.linspace(-16, 16, 9))
        expected = calibration_oracle(confidence, hits, WEIGHTS, edges, norm)
        metric = CalibrationError(10, norm, spacing, from_logits=from_logits)
        given = LOGITS if from_logits else probabilities
        found = streamed(metric, LABELS, given, WEIGHTS)
        assert float(found) == pytest.approx(expected, rel=1e-4)

    def test_curve_is_scikit_learns(self):
        probabilities = expit(BINARY_LOGITS.astype("float64"))
        metric = CalibrationError(bins=8)
        error = float(streamed(metric, BINARY, probabilities))
        curve = metric.curve()
        accuracy, confidence = calibration_curve(
            BINARY, probabilities, n_bins=8
        )
        np.testing.assert_allclose(curve.accuracy, accuracy, rtol=1e-5)
        np.testing.assert_allclose(curve.confidence, confidence, rtol=1e-5)
        gaps = np.abs(accuracy - confidence)
        assert error == pytest.approx(np.sum(curve.share * gaps), rel=1e-4)

    def test_plot(self, tmp_path):
        metric = CalibrationError(bins=8)
        streamed(metric, BINARY, expit(BINARY_LOGITS))
        metric.plot(tmp_path / "curve.png")
        assert (tmp_path / "curve.png").stat().st_size > 5_000


def best_of_all(labels, probabilities, weights, beta):
    """The best F-beta over every distinct threshold."""
    return max(
        oracle.fbeta_score(
            labels, probabilities > limit, beta=beta, sample_weight=weights
        )
        for limit in [-1, *np.unique(probabilities)[:-1]]
    )


class TestBestThreshold:
    @pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
    @pytest.mark.parametrize("weights", [None, WEIGHTS])
    @pytest.mark.parametrize("from_logits", [False, True])
    def test_within_its_bound(self, beta, weights, from_logits):
        probabilities = expit(BINARY_LOGITS)
        expected = best_of_all(BINARY, probabilities, weights, beta)
        metric = BestThresholdFBeta(beta, from_logits=from_logits)
        given = BINARY_LOGITS if from_logits else probabilities
        result = streamed(metric, BINARY, given, weights)
        found = float(result["best_fbeta"])
        bound = float(result["best_fbeta_bound"])
        assert found <= expected + 1e-6
        assert expected <= found + bound + 1e-6
        assert bound < 0.02

        threshold = float(result["best_fbeta_threshold"])
        same = FBetaScore(
            "macro", beta, threshold=threshold, from_logits=from_logits
        )
        same.update_state(BINARY, given, weights)
        assert float(same.result()) == pytest.approx(found, rel=1e-5)

    def test_bound_holds_with_few_bins(self):
        probabilities = expit(BINARY_LOGITS)
        expected = best_of_all(BINARY, probabilities, None, 1.0)
        for bins in (2, 3, 5, 17):
            result = streamed(
                BestThresholdFBeta(bins=bins), BINARY, probabilities
            )
            found = float(result["best_fbeta"])
            assert found <= expected + 1e-6
            assert expected <= found + float(result["best_fbeta_bound"]) + 1e-6

    def test_rare_events(self):
        """Thresholds where 200 even ones would put everything into one bin."""
        logits = random.normal(-9, 1, 20_000)
        labels = random.random(20_000) < expit(3 * (logits + 6.5))
        probabilities = expit(logits).astype("float32")
        expected = max(
            oracle.f1_score(labels, probabilities > limit)
            for limit in np.quantile(probabilities, np.linspace(0.9, 1, 400))
        )
        result = BestThresholdFBeta()(labels, probabilities)
        assert float(result["best_fbeta"]) == pytest.approx(expected, abs=0.01)
        assert float(result["best_fbeta_threshold"]) < 0.005
        assert float(result["best_fbeta_bound"]) < 0.01

    def test_column_of_the_positive_class(self):
        probabilities = softmax(LOGITS, axis=1)
        one = BestThresholdFBeta()(LABELS == 2, probabilities[:, 2])
        for labels in (LABELS, np.eye(4)[LABELS]):
            metric = BestThresholdFBeta(class_id=2)
            several = metric(labels, probabilities)
            assert float(several["best_fbeta"]) == float(one["best_fbeta"])
        with pytest.raises(ValueError, match="class_id=None"):
            BestThresholdFBeta()(LABELS, probabilities)

    def test_two_columns(self):
        probabilities = expit(BINARY_LOGITS)
        one = BestThresholdFBeta()(BINARY, probabilities)
        pair = np.stack([1 - probabilities, probabilities], axis=1)
        two = BestThresholdFBeta()(BINARY, pair)
        assert float(two["best_fbeta"]) == float(one["best_fbeta"])

    def test_value_is_what_the_threshold_gives_at_its_edge(self):
        """A probability equal to the threshold is not above it."""
        metric = BestThresholdFBeta(bins=17)
        edges = keras.ops.convert_to_numpy(
            expit(np.linspace(-16, 16, 16)).astype("float32")
        )
        labels = np.arange(16) >= 9
        result = metric(labels, edges)
        again = F1Score(
            "macro", threshold=float(result["best_fbeta_threshold"])
        )
        assert float(again(labels, edges)) == float(result["best_fbeta"]) == 1
