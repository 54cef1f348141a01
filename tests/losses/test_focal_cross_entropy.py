import keras
import numpy as np
import pytest

import oracles
from keras_concepts import check_gradients
from keras_concepts.losses import CrossEntropy, FocalCrossEntropy
from loss_gradients import (
    ANSWERS,
    LOGITS,
    NUMBERS,
    SOFT,
    check,
    numpy,
    value_and_gradient,
)

pytestmark = pytest.mark.optimized

GAMMAS = [0, 0.5, 1.0, 2.0, 5.0]


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("labels", ["numbers", "soft"])
@pytest.mark.parametrize("alpha", [None, 0.25, [1.0, 0.5, 2.0, 0.0]])
def test_categorical(gamma, labels, alpha):
    y_true = NUMBERS if labels == "numbers" else SOFT
    targets = np.eye(4)[NUMBERS] if labels == "numbers" else SOFT
    weights = 1.0 if alpha is None else alpha
    check(
        FocalCrossEntropy(alpha, gamma, from_logits=True),
        y_true,
        LOGITS,
        lambda z: oracles.categorical_focal(targets, z, gamma, weights),
    )


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("alpha", [None, 0.25, [1.0, 0.5, 0.3, 0.0]])
def test_binary(gamma, smoothing, alpha):
    targets = ANSWERS * (1 - smoothing) + smoothing / 2
    positive = 1.0 if alpha is None else np.array(alpha)
    negative = 1.0 if alpha is None else 1 - np.array(alpha)
    check(
        FocalCrossEntropy(
            alpha,
            gamma,
            from_logits=True,
            label_smoothing=smoothing,
            binary=True,
        ),
        ANSWERS,
        LOGITS,
        lambda z: oracles.binary_focal(targets, z, gamma, positive, negative),
    )


@pytest.mark.parametrize("binary", [False, True])
def test_without_focus_it_is_cross_entropy(binary):
    y_true = ANSWERS if binary else NUMBERS
    focal = FocalCrossEntropy(gamma=0, from_logits=True, binary=binary)
    plain = CrossEntropy(from_logits=True, binary=binary)
    for ours, theirs in zip(
        value_and_gradient(focal, y_true, LOGITS),
        value_and_gradient(plain, y_true, LOGITS),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_as_keras(gamma):
    p = np.random.default_rng(0).dirichlet(np.ones(4), 6).astype("float32")
    one_hot = np.eye(4, dtype="float32")[NUMBERS]
    for ours, theirs in [
        (
            FocalCrossEntropy(0.25, gamma),
            keras.losses.CategoricalFocalCrossentropy(0.25, gamma),
        ),
        (
            FocalCrossEntropy(0.25, gamma, binary=True),
            keras.losses.BinaryFocalCrossentropy(True, 0.25, gamma),
        ),
        (
            FocalCrossEntropy(gamma=gamma, binary=True),
            keras.losses.BinaryFocalCrossentropy(gamma=gamma),
        ),
    ]:
        np.testing.assert_allclose(
            numpy(ours(one_hot, p)), numpy(theirs(one_hot, p)), rtol=1e-5
        )


def test_a_confident_mistake_keeps_its_gradient():
    """Keras clips its softmax: from -17 on, the gradient is 0."""
    y_true = np.array([[1.0, 0.0]])
    logits = np.array([[-17.0, 0.0]], "float32")
    theirs = keras.losses.CategoricalFocalCrossentropy(1.0, from_logits=True)
    ours = FocalCrossEntropy(from_logits=True)
    np.testing.assert_array_equal(
        value_and_gradient(theirs, y_true, logits)[1], 0
    )
    value, gradient = value_and_gradient(ours, y_true, logits)
    assert value == pytest.approx(17, 1e-5)
    np.testing.assert_allclose(gradient, [[-1, 1]], rtol=1e-5)


def test_a_certain_answer_has_a_finite_gradient():
    """Keras' `(1 - p)**0.5` has none at `p = 1`."""
    y_true = np.array([[1.0], [0.0]])
    logits = np.array([[40.0], [-40.0]], "float32")
    theirs = keras.losses.BinaryFocalCrossentropy(gamma=0.5, from_logits=True)
    ours = FocalCrossEntropy(gamma=0.5, from_logits=True, binary=True)
    assert not np.isfinite(value_and_gradient(theirs, y_true, logits)[1]).all()
    np.testing.assert_allclose(
        value_and_gradient(ours, y_true, logits)[1], 0, atol=1e-20
    )


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("classes", [2, 3])
def test_ties_and_extremes_are_finite(gamma, classes):
    rows = [[0.0] * classes, [1e4] + [-1e4] * (classes - 1)]
    logits = np.array(rows, "float32")
    for label in range(classes):
        y_true = np.array([label, label])
        loss = FocalCrossEntropy(gamma=gamma, from_logits=True)
        value, gradient = value_and_gradient(loss, y_true, logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("alpha", [None, [1.0, 2.0, 0.5]])
def test_a_forbidden_class(gamma, alpha):
    """As without it: an infinite negative logit is a probability of 0."""
    rows = [[0.5, -np.inf, 1.0], [-np.inf, -np.inf, 1.0]]
    y_true, logits = np.array([0, 2]), np.array(rows, "float32")
    loss = FocalCrossEntropy(alpha, gamma, from_logits=True)
    expected = value_and_gradient(loss, y_true, np.maximum(logits, -200))
    value, gradient = value_and_gradient(loss, y_true, logits)
    assert value == pytest.approx(expected[0], 1e-6)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("gamma", [0, 0.5, 2.0])
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("from_logits", [False, True])
def test_check_gradients(gamma, binary, from_logits):
    loss = FocalCrossEntropy(
        gamma=gamma, from_logits=from_logits, binary=binary
    )
    y_true = ANSWERS if binary else NUMBERS
    y_pred = LOGITS / 50 if from_logits else SOFT * 0.6 + 0.15
    result = check_gradients(loss, (y_true, y_pred), max_entries=12)
    assert result, str(result)
