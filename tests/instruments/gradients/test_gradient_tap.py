"""The tap against an explicit gradient of the same batch."""

import keras
import numpy as np
import pytest
from keras import layers

from autodiff import gradients
from keras_concepts.callbacks import GradientMonitor
from keras_concepts.instruments import GradientTap


def dense():
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(8, "tanh", kernel_regularizer="l2"),
            layers.Dense(3),
        ]
    )


def convolutional():
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Reshape((4, 3, 1)),
            layers.Conv2D(4, 2, activation="relu"),
            layers.Conv2DTranspose(2, 2),
            layers.DepthwiseConv2D(2),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def embedding():
    # Few rows and many repeats: sparse gradients with duplicate indices.
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Lambda(lambda x: keras.ops.cast(abs(x) * 3, "int32")),
            layers.Embedding(20, 5),
            layers.GlobalAveragePooling1D(),
            layers.Dense(3),
        ]
    )


def recurrent():
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Reshape((6, 2)),
            layers.GRU(3, return_sequences=True),
            layers.LSTM(3),
            layers.Dense(3),
        ]
    )


def normalized():
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(8, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(3),
        ]
    )


def shared_and_nested():
    inner = keras.Sequential([layers.Dense(6, "tanh"), layers.Dense(12)])
    inputs = keras.Input((12,))
    x = inner(inner(inputs))
    x = layers.Add()([x, inputs])
    return keras.Model(inputs, layers.Dense(3)(x))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(6, "relu")
        self.out = layers.Dense(3)
        # Trainable, but no part of the loss.
        self.unused = self.add_weight(shape=(2, 2), name="unused")

    def call(self, x, training=None):
        return self.out(self.hidden(x))


MODELS = [
    dense,
    convolutional,
    embedding,
    recurrent,
    normalized,
    shared_and_nested,
    Subclassed,
]


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("make", MODELS)
def test_each_step_equals_brute_force(make, digits):
    x, y = digits
    model = make()
    # A rate of 0 keeps the weights, so that one model serves every batch.
    model.compile(
        keras.optimizers.SGD(0.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model(x[:1])
    monitor = GradientMonitor()
    model.fit(x, y, 16, epochs=2, shuffle=False, verbose=0, callbacks=[monitor])
    recording = monitor.recording
    rows = {
        (step, layer, quantity): value
        for step, layer, quantity, value in zip(
            recording.step.tolist(),
            recording.owner,
            recording.quantity,
            recording.value,
            strict=True,
        )
    }
    for step in range(8):
        batch = slice(16 * (step % 4), 16 * (step % 4 + 1))
        loss, expected = gradients(model, x[batch], y[batch])
        np.testing.assert_allclose(
            rows[step, "", "batch_loss"], loss, rtol=1e-5
        )
        squares = 0.0
        for variable, gradient in zip(
            model.trainable_variables, expected, strict=True
        ):
            rms = rows[step, variable.path, "gradient_rms"]
            peak = rows[step, variable.path, "gradient_max"]
            if gradient is None:
                assert np.isnan(rms)
                assert np.isnan(peak)
                continue
            gradient = gradient.astype("float64")
            squares += np.sum(gradient**2)
            np.testing.assert_allclose(
                rms, np.sqrt(np.mean(gradient**2)), rtol=1e-5, atol=1e-9
            )
            np.testing.assert_allclose(
                peak, np.abs(gradient).max(), rtol=1e-5, atol=1e-9
            )
            np.testing.assert_allclose(
                rows[step, variable.path, "weight_rms"],
                np.sqrt(np.mean(keras.ops.convert_to_numpy(variable) ** 2)),
                rtol=1e-5,
            )
            assert rows[step, variable.path, "update_rms"] == 0.0
            assert rows[step, variable.path, "gradient_nonfinite"] == 0.0
        np.testing.assert_allclose(
            rows[step, "", "gradient_norm"], np.sqrt(squares), rtol=1e-5
        )


def test_a_block_in_which_the_optimizer_is_not_called():
    model = dense()
    model.compile("sgd", "mse")
    tap = GradientTap(model.optimizer, model.trainable_variables)
    with pytest.warns(UserWarning, match="saw no call of the optimizer"), tap:
        pass
    with pytest.raises(KeyError), tap:
        raise KeyError  # which says enough


def test_one_block_around_several_epochs():
    """A compiled step is traced once; what it measures is read each time."""
    model = dense()
    model.compile("sgd", "mse")
    x, y = np.ones((4, 12), "float32"), np.zeros((4, 3), "float32")
    model.optimizer.build(model.trainable_variables)
    with GradientTap(model.optimizer, model.trainable_variables) as tap:
        steps = []
        for _ in range(2):
            for _ in range(3):
                _ = model.train_on_batch(x, y)
            steps.append(tap.read().steps.tolist())
    assert steps == [[0, 1, 2], [3, 4, 5]]
