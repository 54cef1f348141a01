import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from keras_concepts import _backend
from keras_concepts.instruments.owners import owner_names

RANDOM = np.random.default_rng(0)
FLAT = RANDOM.normal(size=(3, 4)).astype("float32")
SEQUENCE = RANDOM.normal(size=(2, 3, 4)).astype("float32")
IMAGE = RANDOM.normal(size=(2, 5, 5, 2)).astype("float32")


class Bilinear(layers.Layer):
    """A layer of two arguments."""

    def call(self, a, b):
        return a * b


@pytest.mark.parametrize(
    ("make", "inputs", "training"),
    [
        (lambda: layers.Dense(3, "gelu"), FLAT, False),
        (lambda: layers.Dense(3, "relu"), FLAT, False),
        (lambda: layers.LayerNormalization(), FLAT, False),
        (lambda: layers.BatchNormalization(), FLAT, False),
        (lambda: layers.BatchNormalization(), FLAT, True),
        (lambda: layers.SimpleRNN(2), SEQUENCE, False),
        (lambda: layers.Conv2D(2, 3, activation="tanh"), IMAGE, False),
        (lambda: layers.Attention(), [SEQUENCE, SEQUENCE], False),
        (lambda: layers.Dot(1), [FLAT, 2 * FLAT], False),
        (lambda: Bilinear(), (FLAT, 2 * FLAT), False),
        (lambda: layers.Embedding(5, 3), np.array([[0, 1], [4, 2]]), False),
    ],
)
def test_right_gradients(make, inputs, training):
    result = kc.check_gradients(
        make(), inputs, training=training, max_entries=6
    )
    assert result, str(result)
    assert result.entries >= 6


def test_in_float64():
    """Where the backend has it, errors are a million times smaller."""
    if keras.backend.backend() == "jax":
        pytest.skip("JAX has float64 only on request.")
    layer = layers.Dense(2, "tanh", dtype="float64")
    result = kc.check_gradients(layer, FLAT, tolerance=1e-9)
    assert result, str(result)


def test_a_model():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, "tanh"),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    result = kc.check_gradients(model, FLAT, training=True)
    assert result, str(result)
    assert result.entries == FLAT.size + model.count_params()


@pytest.mark.parametrize(
    "loss", [keras.losses.MeanSquaredError(), keras.losses.Huber(0.3)]
)
def test_keras_losses(loss):
    result = kc.check_gradients(loss, (FLAT, FLAT[::-1]))
    assert result, str(result)


@ops.custom_gradient
def tanh_with_a_wrong_slope(x):
    y = ops.tanh(x)

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return upstream * (1 - y * y) * 1.01

    return y, gradient


class WrongSlope(layers.Layer):
    def call(self, x):
        return tanh_with_a_wrong_slope(x)


class ForgottenPath(layers.Layer):
    """Scales by a weight through which no gradient flows."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), name="scale")

    def call(self, x):
        return x * x + x * ops.stop_gradient(self.scale)


class NotANumber(layers.Layer):
    """The right value, and 0 / 0 in the gradient of the branch not taken."""

    def call(self, x):
        return ops.where(x > 0, x / ops.relu(x), 0 * x)


class TestPlantedErrors:
    def test_a_slope_one_percent_off(self):
        result = kc.check_gradients(WrongSlope(), FLAT)
        assert not result
        assert result.name == "inputs"
        assert result.autodiff / result.numeric == pytest.approx(1.01, 1e-3)
        assert kc.check_gradients(WrongSlope(), FLAT, tolerance=0.02)

    def test_a_path_without_gradient(self):
        layer = ForgottenPath()
        result = kc.check_gradients(layer, FLAT)
        assert not result.ok
        assert result.name in ("inputs", layer.scale.path)

    def test_nan(self):
        result = kc.check_gradients(NotANumber(), FLAT)
        assert not result
        assert np.isnan(result.autodiff)
        assert FLAT[result.index] < 0

    def test_a_loss(self):
        class Wrong(keras.losses.Loss):
            def call(self, y_true, y_pred):
                return ops.square(y_pred) - y_true * ops.stop_gradient(y_pred)

        result = kc.check_gradients(Wrong(), (FLAT + 1, FLAT))
        assert not result
        assert result.name == "y_pred"
        i = result.index
        assert result.autodiff - result.numeric == pytest.approx(
            kc_projection() * (FLAT[i] + 1) / 12, rel=1e-3
        )

    def test_the_report(self):
        text = str(kc.check_gradients(WrongSlope(), FLAT))
        assert text.startswith(
            "Gradients DISAGREE (12 entries). Worst: inputs["
        )
        assert "\n" not in text
        text = str(kc.check_gradients(layers.Dense(2), FLAT))
        assert text.startswith("Gradients agree (")


def kc_projection():
    """The factor of a scalar output, by the default seed."""
    return np.random.default_rng(0).normal(size=())


def test_kinks_are_not_held_against_a_layer():
    x = np.array([[0.0, 1e-4, -0.003, 0.02, 0.05, -1.0]], "float32")
    result = kc.check_gradients(layers.ReLU(), x)
    assert result, str(result)


def test_nothing_is_changed():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.GaussianNoise(0.1),
        ]
    )
    before = [ops.convert_to_numpy(v).copy() for v in model.variables]
    kc.check_gradients(model, FLAT, training=True)
    if keras.backend.backend() == "torch":
        import torch

        state = torch.get_rng_state()
        kc.check_gradients(model, FLAT, training=True)
        assert (torch.get_rng_state() == state).all()
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_the_same_seed_gives_the_same_result():
    layer = layers.Dense(30)
    results = [
        kc.check_gradients(layer, FLAT, max_entries=5, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert results[0] == results[1] != results[2]
    assert results[0].entries == 5 + 5 + 5


def test_wrong_arguments():
    with pytest.raises(TypeError, match=r"needs a `keras\.Layer` or"):
        kc.check_gradients(lambda x: x, FLAT)
    with pytest.raises(
        ValueError, match="needs a floating-point input or trainable"
    ):
        kc.check_gradients(layers.Rescaling(2), np.array([1, 2]))
    with pytest.raises(ValueError, match=r"`tolerance` of .* above 0"):
        kc.check_gradients(layers.ReLU(), FLAT, tolerance=0)
    with pytest.raises(ValueError, match=r"`max_entries` of .* at least 1"):
        kc.check_gradients(layers.ReLU(), FLAT, max_entries=0)


class TestBackend:
    def test_value_and_grad(self):
        a, b, c = (ops.convert_to_tensor(FLAT[i]) for i in range(3))
        value, gradients = _backend.value_and_grad(
            lambda tensors: ops.sum(tensors[0] ** 2 * tensors[1]), [a, b, c]
        )
        assert float(value) == pytest.approx(
            (FLAT[0] ** 2 * FLAT[1]).sum(), rel=1e-5
        )
        for gradient, expected in zip(
            gradients,
            [2 * FLAT[0] * FLAT[1], FLAT[0] ** 2, 0 * FLAT[2]],
            strict=True,
        ):
            np.testing.assert_allclose(
                ops.convert_to_numpy(gradient), expected, rtol=1e-6
            )

    def test_a_constant(self):
        value, (gradient,) = _backend.value_and_grad(
            lambda tensors: ops.sum(ops.stop_gradient(tensors[0])),
            [ops.convert_to_tensor(FLAT)],
        )
        assert float(value) == pytest.approx(FLAT.sum(), rel=1e-5)
        np.testing.assert_array_equal(ops.convert_to_numpy(gradient), 0 * FLAT)

    @pytest.mark.on_cpu
    def test_known_value(self):
        tensor = ops.convert_to_tensor(FLAT)
        np.testing.assert_array_equal(_backend.known_value(tensor), FLAT)
        seen = []

        class Probe(layers.Layer):
            def call(self, x):
                seen.append(_backend.known_value(x))
                return x

        model = keras.Sequential([keras.Input((4,)), Probe()])
        seen.clear()
        model.predict(FLAT, verbose=0)
        compiled = keras.backend.backend() != "torch"
        assert all((value is None) == compiled for value in seen)
        assert seen


class HalfDetached(layers.Dense):
    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel)
        return ops.matmul(inputs, kernel + ops.stop_gradient(kernel))


def test_towers_with_the_same_layer_names():
    def tower(kind):
        inputs = keras.Input((3,))
        layer = kind(2, use_bias=False, name="hidden")
        return keras.Model(inputs, layer(inputs)), layer

    inputs = keras.Input((3,))
    (first, _), (second, wrong) = tower(layers.Dense), tower(HalfDetached)
    outputs = layers.Add()([first(inputs), second(inputs)])
    model = keras.Model(inputs, outputs)
    found = kc.check_gradients(model, FLAT[:, :3])
    assert not found
    assert found.name == owner_names(model).of(wrong.kernel)
    assert found.name != wrong.kernel.path
