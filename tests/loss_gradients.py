"""Hard logits, and the value and gradient of a loss on them as NumPy."""

import keras
import numpy as np
import pytest

import oracles
from keras_concepts import _backend

LOGITS = np.random.default_rng(3).uniform(-100, 100, (6, 4)).astype("float32")
LOGITS[0] = [100, -100, 0, 0]
LOGITS[1] = [0, 0, 0, 0]
LOGITS[2] = [-17, 17, -17, -100]
NUMBERS = np.array([1, 2, 0, 3, 3, 0])
SOFT = np.random.default_rng(4).dirichlet(np.ones(4), 6)
ANSWERS = np.random.default_rng(5).integers(0, 2, (6, 4))


def value_and_gradient(loss, y_true, y_pred, sample_weight=None):
    """The summed loss and its gradient with respect to `y_pred`."""
    value, (gradient,) = _backend.value_and_grad(
        lambda tensors: keras.ops.sum(loss(y_true, tensors[0], sample_weight)),
        [keras.ops.convert_to_tensor(y_pred)],
    )
    return float(value), keras.ops.convert_to_numpy(gradient)


def check(loss, y_true, logits, oracle):
    """Value and gradient agree with a float64 oracle of each row's loss."""
    value, gradient = value_and_gradient(loss, y_true, logits)
    assert value == pytest.approx(oracle(logits.astype(float)).mean(), 1e-5)
    expected = oracles.slope(lambda z: oracle(z).mean(), logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def compiled(loss):
    """The loss as a compiled function; on torch, which has none, as it is."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return tf.function(loss)
        case "jax":
            import jax

            return jax.jit(loss)
        case "torch":
            return loss


def numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor), "float64")


def masked(y_pred, mask):
    """`y_pred` with the mask that Keras would attach to it."""

    class Attach(keras.layers.Layer):
        def compute_mask(self, inputs, previous=None):
            return keras.ops.convert_to_tensor(mask)

        def call(self, inputs):
            return inputs * 1.0

    return Attach()(keras.ops.convert_to_tensor(y_pred))
