import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts.instruments.data.labels import label_form
from keras_concepts.instruments.data.right_loss import right_and_wrong_loss
from keras_concepts.instruments.heads import heads_of

RANDOM = np.random.default_rng(0)
NUMBERS = RANDOM.normal(size=(300, 1)).astype("float32")
CLASSES = RANDOM.integers(0, 3, 300)


def squares(y, p):
    return ops.mean((y - p) ** 2, axis=-1)


def cross_entropy(y, p):
    picked = ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), 3)
    return -ops.sum(picked * ops.log(p + 1e-7), axis=-1)


def of_logits(y, p):
    picked = ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), 3)
    return -ops.sum(picked * ops.log_softmax(p), axis=-1)


def both(loss, y, units=1, activation=None):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(units, activation)]
    )
    model.compile("sgd", loss)
    [head] = heads_of(model, y=y)
    form = label_form(y, head.facts)
    return right_and_wrong_loss(head.loss, head.facts, y, form)


@pytest.mark.parametrize("y", [NUMBERS, NUMBERS[:, 0]])
def test_squares(y):
    right, wrong = both(squares, y)
    assert right == 0.0
    assert wrong == pytest.approx(2.0 * NUMBERS.var(), rel=0.2)


def test_upside_down():
    right, wrong = both(lambda y, p: -squares(y, p), NUMBERS)
    assert right > wrong


def test_a_loss_that_does_not_look_at_the_labels():
    right, wrong = both(lambda y, p: squares(0.0 * y, p), NUMBERS)
    assert right == pytest.approx(wrong, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "activation"),
    [(cross_entropy, "softmax"), (of_logits, None), (of_logits, "softmax")],
)
@pytest.mark.parametrize("y", [CLASSES, CLASSES[:, None]])
def test_classes(loss, activation, y):
    right, wrong = both(loss, y, 3, activation)
    assert right < wrong
    right, wrong = both(lambda y, p: -loss(y, p), y, 3, activation)
    assert right > wrong


@pytest.mark.parametrize(
    ("loss", "y", "units"),
    [
        ("mse", NUMBERS, 1),  # of Keras
        (lambda y, p: ops.mean(p, axis=-1), NUMBERS, 5),  # of other shapes
        (lambda y, p: 1 / 0, NUMBERS, 1),
    ],
)
def test_what_cannot_be_said(loss, y, units):
    assert both(loss, y, units) == (None, None)
