import json

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

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


@pytest.mark.parametrize("labels", ["numbers", "soft"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weights", [None, [1.0, 0.5, 2.0, 0.0]])
def test_categorical(labels, smoothing, weights):
    y_true = NUMBERS if labels == "numbers" else SOFT
    targets = np.eye(4)[NUMBERS] if labels == "numbers" else SOFT
    targets = targets * (1 - smoothing) + smoothing / 4
    loss = CrossEntropy(
        from_logits=True, label_smoothing=smoothing, class_weights=weights
    )
    check(
        loss,
        y_true,
        LOGITS,
        lambda z: oracles.categorical_focal(
            targets, z, weights=1.0 if weights is None else weights
        ),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("pos_weight", [None, 3.0, [1.0, 0.5, 2.0, 0.0]])
def test_binary(smoothing, pos_weight):
    targets = ANSWERS * (1 - smoothing) + smoothing / 2
    loss = CrossEntropy(
        from_logits=True,
        label_smoothing=smoothing,
        binary=True,
        pos_weight=pos_weight,
    )
    check(
        loss,
        ANSWERS,
        LOGITS,
        lambda z: oracles.binary_focal(
            targets, z, positive=1.0 if pos_weight is None else pos_weight
        ),
    )


def test_class_weights_of_questions():
    weights = np.array([1.0, 0.5, 2.0, 0.0])
    loss = CrossEntropy(from_logits=True, binary=True, class_weights=weights)
    check(
        loss,
        ANSWERS,
        LOGITS,
        lambda z: oracles.binary_focal(
            ANSWERS, z, positive=weights, negative=weights
        ),
    )


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("cls", [CrossEntropy, FocalCrossEntropy])
def test_weights_as_a_dict(cls, binary):
    """A class that is not named has the weight 1, as in `fit`."""
    name = "class_weights" if cls is CrossEntropy else "alpha"
    labels = ANSWERS if binary else NUMBERS
    weights = {0: 0.5, np.int64(2): np.float32(0.25)}
    loss = cls(from_logits=True, binary=binary, **{name: weights})
    listed = cls(
        from_logits=True, binary=binary, **{name: [0.5, 1.0, 0.25, 1.0]}
    )
    assert float(loss(labels, LOGITS)) == float(listed(labels, LOGITS))
    config = json.loads(json.dumps(loss.get_config()))
    again = cls.from_config(config)
    assert getattr(again, name) == {0: 0.5, 2: 0.25}
    wrong = cls(from_logits=True, binary=binary, **{name: {4: 1.0}})
    with pytest.raises(ValueError, match="classes from 0 to 3"):
        wrong(labels, LOGITS)


@pytest.mark.parametrize("pos_weight", [None, 3.0])
def test_weights_of_yes_and_no(pos_weight):
    """Of one unit, as `fit(class_weight=...)` has it."""
    answers, logits = ANSWERS[:, 0], LOGITS[:, :1]
    weights = {0: 0.5, 1: 2.5}
    loss = CrossEntropy(
        from_logits=True,
        binary=True,
        class_weights=weights,
        pos_weight=pos_weight,
    )
    positive = 2.5 * (pos_weight or 1.0)
    expected = oracles.binary_focal(
        answers[:, None], logits, positive=positive, negative=0.5
    )
    assert float(loss(answers, logits)) == pytest.approx(expected.mean(), 1e-5)
    if pos_weight is None:
        plain = CrossEntropy(from_logits=True, binary=True)
        each = np.where(answers, 2.5, 0.5)
        same = float(plain(answers, logits, each))
        assert float(loss(answers, logits)) == pytest.approx(same, 1e-5)


def test_weights_balance_the_classes():
    """What the message about `"balanced"` says is what scikit-learn does."""
    counts = np.bincount(NUMBERS)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=NUMBERS)
    found = CrossEntropy(class_weights=len(NUMBERS) / (4 * counts))
    np.testing.assert_allclose(found.class_weights, expected)


@pytest.mark.parametrize("name", ["class_weights", "pos_weight"])
def test_one_weight_a_class(name):
    loss = CrossEntropy(from_logits=True, binary=True, **{name: [1.0, 2.0]})
    with pytest.raises(ValueError, match="2 numbers for 4 classes"):
        loss(ANSWERS, LOGITS)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_as_keras(smoothing):
    """The familiar arguments mean what they mean in Keras."""
    p = np.random.default_rng(0).dirichlet(np.ones(4), 6).astype("float32")
    one_hot = np.eye(4, dtype="float32")[NUMBERS]
    for y_true, binary, theirs in [
        (one_hot, False, keras.losses.CategoricalCrossentropy),
        (one_hot, True, keras.losses.BinaryCrossentropy),
    ]:
        for reduction in ("sum_over_batch_size", "sum", None):
            options = {"label_smoothing": smoothing, "reduction": reduction}
            ours = CrossEntropy(binary=binary, **options)
            np.testing.assert_allclose(
                numpy(ours(y_true, p)),
                numpy(theirs(**options)(y_true, p)),
                rtol=1e-5,
            )


def test_a_forbidden_class():
    """An infinite negative logit says that a class cannot be."""
    logits = np.array([[0.5, -np.inf, 1.0]], "float32")
    loss = CrossEntropy(from_logits=True)
    value, gradient = value_and_gradient(loss, np.array([0]), logits)
    assert value == pytest.approx(np.log1p(np.exp(0.5)), 1e-6)
    assert np.isfinite(gradient).all()
    assert gradient[0, 1] == 0


def test_many_classes_in_half_precision_inputs():
    y_pred = keras.ops.cast(LOGITS / 10, "bfloat16")
    loss = CrossEntropy(from_logits=True, dtype="bfloat16")
    exact = oracles.categorical_focal(np.eye(4)[NUMBERS], numpy(y_pred)).mean()
    result = loss(NUMBERS, y_pred)
    assert keras.backend.standardize_dtype(result.dtype) == "bfloat16"
    assert float(result) == pytest.approx(exact, 4e-3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"label_smoothing": 0.1, "class_weights": [1.0, 2.0, 3.0, 4.0]},
        {"binary": True, "pos_weight": 2.0},
    ],
)
@pytest.mark.parametrize("from_logits", [False, True])
def test_check_gradients(arguments, from_logits):
    loss = CrossEntropy(from_logits=from_logits, **arguments)
    y_true = ANSWERS if loss.binary else NUMBERS
    y_pred = LOGITS / 50 if from_logits else SOFT * 0.6 + 0.15
    result = check_gradients(loss, (y_true, y_pred), max_entries=12)
    assert result, str(result)
