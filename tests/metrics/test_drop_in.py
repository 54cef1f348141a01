"""Code written for `keras.metrics` runs unchanged."""

import keras
import numpy as np
import pytest

from keras_concepts.metrics import (
    BrierScore,
    F1Score,
    FBetaScore,
    Precision,
    Recall,
)

random = np.random.default_rng(0)
SCORES = random.random((40, 4)).astype("float32")
SEVERAL = (random.random((40, 4)) > 0.6).astype("float32")
ONE = np.eye(4, dtype="float32")[random.integers(0, 4, 40)]
WEIGHTS = random.random(40).astype("float32")


def same(ours, keras_metric, *batches):
    for batch in batches:
        ours.update_state(*batch)
        keras_metric.update_state(*batch)
    expected = keras.ops.convert_to_numpy(keras_metric.result())
    found = keras.ops.convert_to_numpy(ours.result())
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    names = ["true_positives", "false_positives", "false_negatives"]
    for name in [*names, "intermediate_weights"]:
        if hasattr(keras_metric, name):
            np.testing.assert_allclose(
                keras.ops.convert_to_numpy(getattr(ours, name)),
                keras.ops.convert_to_numpy(getattr(keras_metric, name)),
                rtol=1e-5,
                atol=1e-5,
            )


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("threshold", [None, 0.3])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_fbeta(average, threshold, weights):
    labels = ONE if threshold is None else SEVERAL
    same(
        FBetaScore(average, 2.0, threshold),
        keras.metrics.FBetaScore(average, 2.0, threshold),
        (labels, SCORES, weights),
        (labels[:7], SCORES[:7]),
    )
    same(
        F1Score(average, threshold, "f1"),
        keras.metrics.F1Score(average, threshold, "f1"),
        (labels, SCORES, weights),
    )


@pytest.mark.parametrize("ours", [Precision, Recall])
@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"thresholds": 0.3},
        {"thresholds": [0.2, 0.5, 0.9]},
        {"top_k": 2},
        {"top_k": 3, "thresholds": 0.5},
        {"class_id": 1},
        {"class_id": 1, "top_k": 2},
        {"thresholds": [0.2, 0.5], "class_id": 3},
        {"thresholds": 0},
    ],
)
@pytest.mark.parametrize("weights", [None, WEIGHTS, WEIGHTS[:, None]])
def test_precision_and_recall(ours, arguments, weights):
    keras_class = getattr(keras.metrics, ours.__name__)
    same(
        ours(**arguments),
        keras_class(**arguments),
        (SEVERAL, SCORES, weights),
        (SEVERAL[:7], SCORES[:7]),
    )


@pytest.mark.parametrize("ours", [Precision, Recall])
def test_forms_of_single_decisions(ours):
    keras_class = getattr(keras.metrics, ours.__name__)
    labels, scores = SEVERAL[:, 0], SCORES[:, 0]
    for batch in (
        (labels, scores),
        (labels[:, None], scores[:, None]),
        (labels, scores[:, None]),
        (labels[:, None], scores),
        (labels, scores, WEIGHTS),
        (labels[:, None], scores[:, None], WEIGHTS),
        (labels[:, None], scores[:, None], WEIGHTS[:, None]),
        (SEVERAL, SCORES, SEVERAL + 0.5),
        (SEVERAL > 0, SCORES),
        (SEVERAL.reshape(10, 4, 4), SCORES.reshape(10, 4, 4)),
        (list(labels), list(scores)),
    ):
        same(ours(), keras_class(), batch)
    same(ours(top_k=2), keras_class(top_k=2), (labels[:4], scores[:4]))


def test_same_constructors():
    for ours in (FBetaScore, F1Score, Precision, Recall):
        theirs = getattr(keras.metrics, ours.__name__)
        assert issubclass(ours, keras.Metric)
        assert ours().name.split("_")[0] == theirs().name.split("_")[0]
        config = theirs().get_config()
        found = {**ours().get_config(), "name": config["name"]}
        assert {key: found[key] for key in config} == config
        ours.from_config(config)


@pytest.mark.parametrize("ours", [FBetaScore, F1Score])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"average": "mean"}, "Invalid `average` argument value"),
        ({"threshold": 2.0}, "Invalid `threshold` argument value"),
        ({"threshold": 0.0}, "Invalid `threshold` argument value"),
        ({"threshold": "high"}, "Invalid `threshold` argument value"),
        ({"beta": -1.0}, "Invalid `beta` argument value"),
        ({"beta": [1.0]}, "Invalid `beta` argument value"),
    ],
)
def test_same_errors(ours, arguments, message):
    if "beta" in arguments and ours is F1Score:
        pytest.skip("F1 has no beta")
    for each in (ours, getattr(keras.metrics, ours.__name__)):
        with pytest.raises(ValueError, match=message):
            each(**arguments)


@pytest.mark.parametrize("ours", [Precision, Recall])
def test_errors_of_precision_and_recall(ours):
    for each in (ours, getattr(keras.metrics, ours.__name__)):
        with pytest.raises(ValueError, match=r"must lie in|must be in"):
            each(thresholds=[0.5, 2])
        with pytest.raises(ValueError, match="class_id"):
            each(class_id=1).update_state(SEVERAL[:, 0], SCORES[:, 0])
    with pytest.raises(ValueError, match=f"Labels of `{ours.__name__}`"):
        ours().update_state(SEVERAL[:, 0], SCORES)


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_ids": [0]},
        {"class_ids": [0], "class_id": 1, "average": "macro"},
        {"num_classes": 3},
        {"average": "mean"},
        {"top_k": 0},
        {"absent": "drop"},
        {"labels": "ragged"},
    ],
)
def test_arguments_that_do_not_go_together(arguments):
    with pytest.raises(ValueError, match="of `Precision`"):
        Precision(**arguments)


def test_class_id_with_an_average():
    y_true = ONE.argmax(axis=1)
    one, all_classes = Recall(class_id=2, average=None), Recall(average=None)
    for metric in (one, all_classes):
        metric.update_state(y_true, SCORES)
    found = keras.ops.convert_to_numpy(one.result())
    expected = keras.ops.convert_to_numpy(all_classes.result())
    np.testing.assert_array_equal(found, expected[2:3])


def test_bad_class_ids_and_thresholds():
    with pytest.raises(ValueError, match="class_ids=\\(4,\\)"):
        F1Score(class_ids=[4]).update_state(ONE, SCORES)
    with pytest.raises(ValueError, match="one for each of the 4 classes"):
        F1Score(threshold=[0.5, 0.5]).update_state(ONE, SCORES)
    with pytest.raises(ValueError, match="top_k=5"):
        F1Score(top_k=5).update_state(ONE, SCORES)
    with pytest.raises(ValueError, match="ignore_class=9"):
        BrierScore(ignore_class=9).update_state(ONE, SCORES)
    with pytest.raises(TypeError, match="class_ids=3"):
        F1Score(class_ids=3)
