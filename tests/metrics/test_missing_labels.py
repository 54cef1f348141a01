"""Multi-hot labels, some of them unknown: left out of their class.

The oracle is scikit-learn on the entries that are known, class by class.
"""

import keras
import numpy as np
import pytest
from sklearn import metrics as oracle

from keras_concepts.metrics import (
    BalancedAccuracy,
    BestThresholdFBeta,
    BrierScore,
    CalibrationError,
    ClassificationReport,
    ConfusionMatrix,
    F1Score,
    FBetaScore,
    Precision,
    Recall,
)

CLASSES = 3
AVERAGES = [None, "micro", "macro", "weighted", "samples"]
IGNORED = [-1, -100, 255, float("nan")]


def batch(ignored, shape=(16,)):
    """Labels, probabilities that no rounding moves, and which are known."""
    random = np.random.default_rng(0)
    shape = (*shape, CLASSES)
    truth = random.integers(0, 2, shape)
    known = random.random(shape) > 0.3
    known[0] = False  # a row of which nothing is known
    known[1:, ..., 0] |= random.random(shape[:-1])[1:] > 0.7
    probabilities = ((random.integers(0, 16, shape) + 0.5) / 16).astype(
        "float32"
    )
    labels = np.where(known, truth, ignored)
    return labels, truth, probabilities, known


def of_rows(score, truth, chosen, known, weights):
    """The mean over the rows that have a label of each row's own score."""
    rows = [
        (score(t[k], c[k], average="binary"), w)
        for t, c, k, w in zip(truth, chosen, known, weights, strict=True)
        if k.any()
    ]
    scores, weights = np.array(rows).T
    return np.average(scores, weights=weights)


def expected(score, average, truth, chosen, known, weights):
    truth, chosen, known = (
        x.reshape(-1, CLASSES) for x in (truth, chosen, known)
    )
    if average == "samples":
        return of_rows(score, truth, chosen, known, weights)
    row, column = np.nonzero(known)
    truth, chosen = truth[known], chosen[known]
    if average == "micro":
        return score(
            truth, chosen, average="binary", sample_weight=weights[row]
        )
    each = [
        score(
            truth[column == c],
            chosen[column == c],
            average="binary",
            sample_weight=weights[row][column == c],
        )
        for c in range(CLASSES)
    ]
    if average is None:
        return each
    support = None
    if average == "weighted":
        support = [
            (truth * weights[row])[column == c].sum() for c in range(CLASSES)
        ]
    return np.average(each, weights=support)


def scorer(kind):
    function = {
        "precision": oracle.precision_score,
        "recall": oracle.recall_score,
        "f1": oracle.f1_score,
        "f2": lambda *a, **k: oracle.fbeta_score(*a, beta=2, **k),
    }[kind]
    return lambda *args, **kw: function(*args, zero_division=0, **kw)


def make(kind, average, threshold, **options):
    if kind in ("precision", "recall"):
        cls = Precision if kind == "precision" else Recall
        return cls(threshold, average=average, **options)
    return FBetaScore(
        average, {"f1": 1.0, "f2": 2.0}[kind], threshold, **options
    )


@pytest.mark.parametrize("ignored", IGNORED)
@pytest.mark.parametrize("shape", [(16,), (4, 6)], ids=["2-D", "3-D"])
@pytest.mark.parametrize("threshold", [0.25, 0.5])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("average", AVERAGES)
def test_f1(average, from_logits, threshold, shape, ignored):
    labels, truth, scores, known = batch(ignored, shape)
    metric = F1Score(
        average, threshold, from_logits=from_logits, ignore_class=ignored
    )
    logits = np.log(scores / (1 - scores))
    metric.update_state(labels, logits if from_logits else scores)
    ones = np.ones(np.prod(shape))
    wanted = expected(
        scorer("f1"), average, truth, scores > threshold, known, ones
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(metric.result()), wanted, rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["precision", "recall", "f1", "f2"])
@pytest.mark.parametrize("average", AVERAGES)
def test_weights_and_batches(kind, average):
    labels, truth, scores, known = batch(-1)
    weights = np.random.default_rng(1).integers(1, 9, 16) / 4
    metric = make(kind, average, 0.5, ignore_class=-1)
    for part in (slice(0, 8), slice(8, 16)):
        metric.update_state(labels[part], scores[part], weights[part])
    wanted = expected(
        scorer(kind), average, truth, scores > 0.5, known, weights
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(metric.result()), wanted, rtol=1e-5
    )


@pytest.mark.parametrize("average", AVERAGES)
@pytest.mark.parametrize("top_k", [None, 2])
def test_largest_scores(average, top_k):
    """A class that is chosen and whose label is not known is left out too."""
    labels, truth, _, known = batch(-1)
    scores = np.random.default_rng(2).permutation(48).reshape(16, 3) / 48
    ranks = np.argsort(np.argsort(-scores, axis=1), axis=1)
    metric = F1Score(average, top_k=top_k, ignore_class=-1)
    metric.update_state(labels, scores)
    wanted = expected(
        scorer("f1"), average, truth, ranks < (top_k or 1), known, np.ones(16)
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(metric.result()), wanted, rtol=1e-5
    )


@pytest.mark.parametrize("ignored", IGNORED)
@pytest.mark.parametrize("cls", [Precision, Recall])
def test_single_decisions(cls, ignored):
    labels, truth, scores, known = batch(ignored)
    kind = scorer(cls.__name__.lower())
    metric = cls(ignore_class=ignored)
    metric.update_state(labels, scores)
    wanted = kind(truth[known], scores[known] > 0.5, average="binary")
    assert float(metric.result()) == pytest.approx(wanted)
    one = cls(class_id=1, ignore_class=ignored)
    one.update_state(labels, scores)
    there = known[:, 1]
    wanted = kind(truth[there, 1], scores[there, 1] > 0.5, average="binary")
    assert float(one.result()) == pytest.approx(wanted)


def test_report():
    labels, truth, scores, known = batch(-1)
    report = ClassificationReport(
        ["a", "b", "c"], 0.5, class_scores=("recall",), ignore_class=-1
    )
    report.update_state(labels, scores)
    found = {key: float(value) for key, value in report.result().items()}
    ones, chosen = np.ones(16), scores > 0.5
    for key, kind, average in (
        ("report_micro_f1", "f1", "micro"),
        ("report_macro_precision", "precision", "macro"),
        ("report_weighted_f1", "f1", "weighted"),
    ):
        wanted = expected(scorer(kind), average, truth, chosen, known, ones)
        assert found[key] == pytest.approx(wanted)
    recalls = expected(scorer("recall"), None, truth, chosen, known, ones)
    assert found["report_b_recall"] == pytest.approx(recalls[1])


def test_best_threshold_and_calibration_of_the_known():
    labels, truth, scores, known = batch(-1)
    weights = known.astype("float32")
    best = BestThresholdFBeta(class_id=1, ignore_class=-1)
    wanted = BestThresholdFBeta()(truth[:, 1], scores[:, 1], weights[:, 1])
    found = best(labels, scores)
    assert float(found["best_fbeta"]) == float(wanted["best_fbeta"])
    error = CalibrationError(ignore_class=-1)
    rows = weights[np.arange(16), scores.argmax(1)]
    wanted = CalibrationError()(truth, scores, rows)
    assert float(error(labels, scores)) == float(wanted)


@pytest.mark.parametrize("cls", [BrierScore, BalancedAccuracy, ConfusionMatrix])
def test_refused_where_a_row_is_of_one_class(cls):
    labels, _, scores, _ = batch(-1)
    with pytest.raises(ValueError, match=f"`ignore_class` of `{cls.__name__}`"):
        cls(ignore_class=-1).update_state(labels, scores)


@pytest.mark.parametrize("ignored", [-1, float("nan")])
@pytest.mark.on_cpu
def test_without_being_told_they_are_an_error(ignored):
    labels, _, scores, _ = batch(ignored)
    for metric in (
        F1Score("macro", threshold=0.5),
        Precision(),
        CalibrationError(),
        ClassificationReport(threshold=0.5),
    ):
        with pytest.raises(ValueError, match="pass it as `ignore_class`"):
            metric.update_state(labels, scores)
        metric.update_state(labels, scores, (labels >= 0).all(axis=1))


@pytest.mark.parametrize("ignored", [True, 0.5, "unknown", [1]])
def test_what_ignore_class_may_be(ignored):
    with pytest.raises(TypeError, match="`ignore_class` of `F1Score`"):
        F1Score(ignore_class=ignored)
    assert F1Score(ignore_class=np.int64(-1)).get_config()["ignore_class"] == -1


def test_in_fit():
    labels, truth, _, known = batch(-1, (32,))
    x = np.random.default_rng(3).normal(size=(32, 4)).astype("float32")
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(CLASSES, "sigmoid")]
    )
    model.compile(
        keras.optimizers.SGD(0.0),
        "mse",
        metrics=[
            F1Score("macro", 0.5, name="f1", ignore_class=-1),
            F1Score("samples", 0.5, name="samples", ignore_class=-1),
        ],
    )
    logs = model.fit(x, labels.astype("float32"), 12, verbose=0).history
    chosen = model.predict(x, verbose=0) > 0.5
    for name, average in (("f1", "macro"), ("samples", "samples")):
        wanted = expected(
            scorer("f1"), average, truth, chosen, known, np.ones(32)
        )
        assert logs[name] == pytest.approx([wanted], rel=1e-5)
