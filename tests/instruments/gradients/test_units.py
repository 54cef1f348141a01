"""Dead units against outputs that were silenced on purpose."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts.callbacks import GradientMonitor


class Silence(layers.Layer):
    """Lets no gradient through to some entries of the last axes."""

    def __init__(self, units, dead):
        super().__init__()
        keep = np.ones(units, "float32")
        keep.reshape(-1)[dead] = 0.0
        self.keep = keep

    def call(self, x):
        return x * ops.convert_to_tensor(self.keep)


class Own(layers.Layer):
    """A custom layer; `shapes` are those of its weights."""

    def __init__(self, shapes, function, **kwargs):
        super().__init__(**kwargs)
        self.shapes, self.function = shapes, function

    def build(self, shape):
        self.w = [
            self.add_weight(shape=s, name=f"w_{i}")
            for i, s in enumerate(self.shapes)
        ]

    def call(self, x):
        return self.function(x, *self.w)


def units_and_dead(layer, shape, units, dead, dtype="float32", model=None):
    """What the monitor records of a layer whose units `dead` are silenced."""
    inputs = keras.Input(shape, dtype=dtype)
    x = Silence(units, dead)(layer(inputs))
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).integers(1, 9, (16, *shape)).astype(dtype)
    monitor = GradientMonitor()
    model.fit(x, np.ones((16, 1)), verbose=0, callbacks=[monitor])
    rows = monitor.recording.select(layer.path)
    counts = rows.select(quantity="units").value.tolist()
    found = rows.select(quantity="zero_gradient_unit").index.tolist()
    return (counts[0] if counts else None), sorted(found)


def lora(layer, shape):
    layer(np.ones((1, *shape)))
    layer.enable_lora(2)
    return layer


IMAGE = (5, 5, 4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("make", "shape", "units"),
    [
        (lambda b: layers.Dense(6, use_bias=b), (3,), 6),
        (lambda b: layers.Conv2D(6, 2, groups=2, use_bias=b), IMAGE, 6),
        (lambda b: layers.Conv1DTranspose(6, 2, use_bias=b), (5, 3), 6),
        (lambda b: layers.Conv2DTranspose(6, 2, use_bias=b), IMAGE, 6),
        (lambda b: layers.DepthwiseConv1D(2, use_bias=b), (5, 6), 6),
        (
            lambda b: layers.DepthwiseConv2D(2, depth_multiplier=2, use_bias=b),
            IMAGE,
            8,
        ),
        (lambda b: layers.SeparableConv2D(6, 2, use_bias=b), IMAGE, 6),
        (
            lambda b: layers.EinsumDense(
                "abc,cde->abde", (4, 2, 3), bias_axes="de" if b else None
            ),
            (4, 5),
            (2, 3),
        ),
        (
            lambda b: layers.EinsumDense(
                "...x,xy->...y", 6, bias_axes="y" if b else None
            ),
            (4, 5),
            6,
        ),
        # A bias that is the same for both heads does not show single units.
        (
            lambda b: layers.EinsumDense(
                "abc,cde->abde", (4, 2, 3), bias_axes="e" if b else None
            ),
            (4, 5),
            (2, 3),
        ),
        (lambda b: lora(layers.Dense(6, use_bias=b), (3,)), (3,), 6),
        (lambda b: lora(layers.Conv2D(6, 2, use_bias=b), IMAGE), IMAGE, 6),
    ],
)
def test_units_of_keras_layers(make, shape, units, bias):
    count = int(np.prod(units))
    found = units_and_dead(make(bias), shape, units, [1, 4])
    assert found == (count, [1, 4])


def test_units_of_an_embedding():
    layer = layers.Embedding(9, 3)
    assert units_and_dead(layer, (4,), 3, [2], "int32") == (3, [2])


def double(x, a, b):
    return ops.matmul(ops.matmul(x, a), b)


def both(x, a, b):
    return ops.matmul(x, a) * ops.matmul(x, b)


def spline(x, a):
    return ops.einsum("bi,ioc->bo", x, a)


@pytest.mark.parametrize(
    ("shapes", "function", "known"),
    [
        ([(3, 6)], ops.matmul, True),
        ([(3, 6, 2)], spline, True),
        ([(3, 6), (3, 6)], both, True),
        ([(3, 2), (2, 6)], double, True),  # low rank
        ([(3, 6), (6, 6)], double, False),  # hidden units, or outputs?
        ([(3, 6), (6, 3)], double, False),  # as wide as its input
    ],
)
def test_units_of_other_layers_where_shapes_tell(shapes, function, known):
    units = 6 if shapes[-1][-1] != 3 else 3
    found = units_and_dead(Own(shapes, function), (3,), units, [1])
    assert found == ((6, [1]) if known else (None, []))


def test_no_units_where_they_are_not_known():
    for layer, shape in (
        (layers.PReLU(), (3, 4)),
        (layers.LayerNormalization(axis=(1, 2)), (3, 4)),
        (layers.GRU(3), (3, 4)),
        (layers.Bidirectional(layers.LSTM(3)), (3, 4)),
    ):
        units = layer.compute_output_shape((None, *shape))[1:]
        assert units_and_dead(layer, shape, units, [0]) == (None, [])


def test_a_model_without_units_has_no_such_log_key():
    model = keras.Sequential([keras.Input((4, 2)), layers.GRU(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        np.ones((8, 4, 2)),
        np.ones((8, 1)),
        verbose=0,
        callbacks=[GradientMonitor()],
    )
    assert "dead_units" not in history.history
    assert "update_ratio" in history.history


def test_a_bias_that_is_zero_by_itself_kills_no_unit():
    """The normalization removes the bias again: its gradient is rounding."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(512),
            layers.BatchNormalization(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(8, 4))
    history = model.fit(x, x[:, :1], verbose=0, callbacks=[GradientMonitor()])
    assert history.history["dead_units"] == [0.0]


class Backwards(keras.Model):
    """Whose layers were made in another order than they are called."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(1, name="head")
        self.body = [layers.Dense(3, name=f"body_{i}") for i in (0, 1)]

    def call(self, x):
        for layer in self.body:
            x = layer(x)
        return self.head(x)


def test_the_first_layer_is_the_one_that_is_called_first():
    model = Backwards()
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
    monitor = GradientMonitor()
    history = model.fit(x, x[:, :1], 8, verbose=0, callbacks=[monitor]).history
    rows = monitor.recording.select("*/kernel", "gradient_rms")
    names = [path.split("/")[-2] for path in rows.owners]
    assert names == ["body_0", "body_1", "head"]
    first, last = (rows.select(f"*/{x}/*").value for x in ("body_0", "head"))
    ratio = np.median(first / last)
    np.testing.assert_allclose(history["gradient_attenuation"], ratio, 1e-5)
    weights = monitor.recording.select("*/kernel", "weight_rms")
    for layer in (*model.body, model.head):
        # Each row is still that of its own variable.
        rms = weights.select(f"*/{layer.name}/*").value[-1]
        now = np.sqrt(np.mean(ops.convert_to_numpy(layer.kernel) ** 2))
        np.testing.assert_allclose(rms, now, rtol=0.05)
    assert "call" not in vars(model.head)
