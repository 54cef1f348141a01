"""What is not known makes a result NaN, and never a good score."""

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
    MatthewsCorrelation,
    Precision,
    Recall,
)

random = np.random.default_rng(0)
LABELS = random.integers(0, 3, 8)
SCORES = random.dirichlet(np.ones(3), 8).astype("float32")
SEVERAL = {
    "balanced": BalancedAccuracy,
    "best": lambda **options: BestThresholdFBeta(class_id=1, **options),
    "brier": BrierScore,
    "calibration": CalibrationError,
    "largest gap": lambda **options: CalibrationError(norm="max", **options),
    "report": ClassificationReport,
    "kappa": CohenKappa,
    "quadratic": lambda **options: CohenKappa("quadratic", **options),
    "matrix": ConfusionMatrix,
    "each": F1Score,
    **{
        average: lambda average=average, **options: F1Score(average, **options)
        for average in ("macro", "micro", "weighted", "samples")
    },
    "threshold": lambda **options: F1Score("macro", threshold=0.5, **options),
    "top 2": lambda **options: Recall(average="macro", top_k=2, **options),
    "skip": lambda **options: F1Score(
        "macro", absent="skip", zero_division=float("nan"), **options
    ),
    "matthews": MatthewsCorrelation,
}
ONE = {
    "balanced": BalancedAccuracy,
    "best": BestThresholdFBeta,
    "brier": BrierScore,
    "calibration": CalibrationError,
    "matrix": ConfusionMatrix,
    "f1": F1Score,
    "entries": Precision,
    "best entries": lambda **options: Recall(top_k=1, **options),
}
NAN = float("nan")


def values(metric, *batch):
    metric.update_state(*batch)
    result = metric.result()
    parts = result.values() if isinstance(result, dict) else [result]
    return np.concatenate(
        [keras.ops.convert_to_numpy(part).ravel() for part in parts]
    )


def put(array, place, value, dtype="float32"):
    array = np.array(array, dtype)
    array[place] = value
    return array


def one_hot(labels):
    return np.eye(3, dtype="float32")[labels]


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("logits", [False, True])
def test_a_score(name, logits):
    metric = SEVERAL[name](from_logits=logits)
    # Of probabilities, the best threshold reads the one column.
    scores = put(SCORES, (3, 0 if logits else 1), NAN)
    assert np.isnan(values(metric, LABELS, scores)).all()
    # It stays so until the next epoch.
    assert np.isnan(values(metric, LABELS, SCORES)).all()
    metric.reset_state()
    assert np.isfinite(values(metric, LABELS, SCORES)).all()


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("bad", [NAN, np.inf])
def test_a_score_of_one_column(name, bad):
    scores = put(SCORES[:, :1], (3, 0), bad)
    labels = (LABELS > 0)[:, None].astype("int32")
    assert np.isnan(values(ONE[name](), labels, scores)).all()
    if bad == np.inf:  # a very sure sigmoid unit
        found = values(ONE[name](from_logits=True), labels, scores)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("cls", [Precision, Recall])
@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize("class_id", [None, 0, 1])
def test_a_score_beside_the_class(cls, logits, class_id):
    """What is among the largest depends on every column."""
    metric = cls(top_k=1, class_id=class_id, from_logits=logits)
    scores = put(SCORES, (3, 0), NAN)
    assert np.isnan(values(metric, one_hot(LABELS), scores)).all()
    metric.reset_state()
    weights = (np.arange(8) != 3).astype("float32")
    assert np.isfinite(values(metric, one_hot(LABELS), scores, weights)).all()
    if class_id == 1:  # alone, it is compared with 0.5
        found = values(cls(class_id=1), one_hot(LABELS), scores)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ["brier", "calibration", "threshold", "best"])
def test_an_infinite_probability(name):
    scores = put(SCORES, (3, 1), np.inf)
    assert np.isnan(values(SEVERAL[name](), LABELS, scores)).all()


@pytest.mark.parametrize("classes", [2, 100, 700])
def test_a_score_among_many(classes):
    scores = np.zeros((4, classes), "float32")
    for column in (0, classes // 2, classes - 1):
        found = values(
            F1Score("micro"), np.zeros(4), put(scores, (1, column), NAN)
        )
        assert np.isnan(found).all()
    # Masked logits of both signs are no NaN.
    scores[:, -1], scores[:, 0] = -np.inf, np.inf
    assert values(F1Score("micro"), np.zeros(4), scores) == 1


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("form", ["numbers", "one-hot"])
@pytest.mark.on_cpu
def test_a_label(name, form):
    labels = LABELS if form == "numbers" else one_hot(LABELS)
    labels = put(labels, 3, NAN)
    # Where a label is refused, nobody can take it for a good score.
    try:
        found = values(SEVERAL[name](), labels, SCORES)
    except ValueError as error:
        assert "Labels of" in str(error)  # noqa: PT017
    else:
        assert np.isnan(found).all()


@pytest.mark.parametrize("name", SEVERAL)
def test_a_weight(name):
    found = values(SEVERAL[name](), LABELS, SCORES, put(np.ones(8), 3, NAN))
    assert np.isnan(found).all()


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("form", ["numbers", "one-hot"])
def test_what_is_left_out_may_be_anything(name, form):
    left_out = np.arange(8) == 3
    labels = LABELS if form == "numbers" else one_hot(LABELS)
    expected = values(SEVERAL[name](), labels[~left_out], SCORES[~left_out])

    scores = put(SCORES, 3, NAN)
    bad = put(labels, 3, NAN) if form == "one-hot" else labels
    weights = (~left_out).astype("float32")
    found = values(SEVERAL[name](), bad, scores, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    masked = keras.ops.convert_to_tensor(scores)
    masked._keras_mask = keras.ops.convert_to_tensor(~left_out)
    found = values(SEVERAL[name](), labels, masked)
    np.testing.assert_allclose(found, expected, rtol=1e-5)

    if form == "numbers":
        ignored = np.where(left_out, 9, labels)
        found = values(SEVERAL[name](ignore_class=9), ignored, scores)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_of_a_model_that_has_diverged(jit_compile):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("torch.compile takes a minute")
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, "softmax")]
    )
    metrics = [
        make(name=f"metric_{i}") for i, make in enumerate(SEVERAL.values())
    ]
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        metrics=metrics,
        jit_compile=jit_compile,
    )
    model.layers[0].kernel.assign(np.full((4, 3), NAN))
    logs = model.evaluate(
        np.ones((8, 4)), LABELS, batch_size=4, verbose=0, return_dict=True
    )
    assert len(logs) > len(metrics)
    for key, value in logs.items():
        assert np.isnan(keras.ops.convert_to_numpy(value)).all(), key
