"""The probe against NumPy, and against autodiff of one layer at a time."""

import contextlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from autodiff import derivative
from keras_concepts import regularizers
from keras_concepts.instruments import forward_probe
from keras_concepts.instruments.signals.forward_probe import ForwardProbe
from keras_concepts.instruments.signals.signal_statistics import (
    layer_statistics,
)


def numpy(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


def sequences(rows=4, time=6, features=3):
    random = np.random.default_rng(1)
    return random.normal(size=(rows, time, features)).astype("float32")


def token_ids():
    ids = np.random.default_rng(2).integers(1, 9, size=(4, 6))
    ids[0, 2:] = 0
    ids[1, :3] = 0
    ids[2] = 0
    return ids.astype("int32")


class Residual(keras.layers.Layer):
    """A layer of layers, with an activation of its own."""

    def __init__(self):
        super().__init__()
        self.inner = layers.Dense(5, "tanh")
        self.norm = layers.LayerNormalization()
        self.activation = keras.activations.gelu

    def call(self, x):
        return self.activation(self.norm(x + self.inner(x)))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = layers.Dense(5, "relu")
        self.block = Residual()
        self.last = layers.Dense(3, "softmax")

    def call(self, x, training=False):
        return self.last(self.block(self.first(x)))


def mlp():
    return [
        keras.Input((12,)),
        layers.Dense(6, "relu", kernel_regularizer="l2"),
        layers.BatchNormalization(),
        layers.Dense(5, activity_regularizer="l2"),
        layers.LeakyReLU(),
        layers.Dropout(0.4),
        layers.Dense(3, "softmax"),
    ]


def convolutional():
    return [
        keras.Input((12,)),
        layers.Reshape((4, 3, 1)),
        layers.Conv2D(3, 2, activation="swish"),
        layers.GlobalMaxPooling2D(),
        layers.Dense(3),
        layers.Softmax(),
    ]


def nested_and_shared():
    inner = keras.Sequential([layers.Dense(4, "tanh"), layers.Dense(3)])
    x = keras.Input((12,))
    y = layers.Add()([inner(x[:, :6]), inner(x[:, 6:])])
    return keras.Model(x, layers.Activation("softmax")(y))


def recurrent():
    return [
        keras.Input((12,)),
        layers.Reshape((4, 3)),
        layers.Bidirectional(layers.GRU(2, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(2, "tanh")),
        layers.LSTM(2, go_backwards=True),
        layers.Dense(3, "softmax"),
    ]


MODELS = {
    "mlp": mlp,
    "convolutional": convolutional,
    "nested_and_shared": nested_and_shared,
    "recurrent": recurrent,
    "subclassed": Subclassed,
}


def compiled(model, loss="sparse_categorical_crossentropy", **arguments):
    if isinstance(model, list):
        model = keras.Sequential(model)
    model.compile("sgd", loss, **arguments)
    return model


def find(model, path):
    """The layer whose path a signal has."""
    [layer] = [
        layer
        for layer in model._flatten_layers()
        if path in (layer.path, layer.name)
    ]
    return layer


def brute_force(model, x, y, layer, call, direction, training):
    """dL/dt where `t * direction` is added to one call of one layer."""
    original = layer.call

    def loss(t):
        count = -1

        def moved(*args, **kwargs):
            nonlocal count
            count += 1
            output = original(*args, **kwargs)
            return output + t * direction if count == call else output

        vars(layer)["call"] = moved
        if keras.backend.backend() == "torch":  # dropout takes no seed there
            keras.utils.set_random_seed(0)
        try:
            values = [(v, v.value) for v in model.variables]
            with keras.StatelessScope(values, collect_losses=True):
                y_pred = model(x, training=training)
                return model.compute_loss(x=x, y=y, y_pred=y_pred)
        finally:
            del vars(layer)["call"]

    return derivative(loss)


@pytest.mark.parametrize(
    ("name", "training"), [("mlp", True), *((name, False) for name in MODELS)]
)
def test_error_signals(name, training, digits):
    x, y = digits[0][:8], digits[1][:8]
    model = compiled(MODELS[name]())
    signals = forward_probe(model, x, y, training=training)
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    random = np.random.default_rng(0)
    seen = 0
    for signal in signals.layers[:-1]:  # the last is at its argument
        if signal.call in (1, 2) and name == "recurrent":
            continue  # two of the four steps will do
        error = numpy(signal.error)
        assert error.shape == signal.activation.shape
        direction = random.normal(size=error.shape).astype("float32")
        expected = brute_force(
            model,
            x,
            y,
            find(model, signal.layer),
            signal.call,
            ops.convert_to_tensor(direction),
            training,
        )
        assert np.sum(error * direction) == pytest.approx(
            expected, rel=1e-4, abs=1e-6
        ), signal.layer
        seen += 1
    assert seen >= 3


@pytest.mark.parametrize("name", ["mlp", "convolutional", "nested_and_shared"])
def test_error_at_the_output_is_that_of_the_logits(name, digits):
    x, y = digits[0][:8], digits[1][:8]
    model = compiled(MODELS[name]())
    output = forward_probe(model, x, y, training=False).layers[-1]
    probabilities = model.predict(x, verbose=0)
    np.testing.assert_allclose(
        numpy(output.activation), probabilities, rtol=1e-5
    )
    expected = (probabilities - np.eye(3)[y]) / len(x)
    np.testing.assert_allclose(numpy(output.error), expected, atol=1e-7)


def test_activations_and_slopes(digits):
    x = digits[0]
    functions = {
        "sigmoid": (
            lambda z: 1 / (1 + np.exp(-z)),
            lambda a, z: a * (1 - a) * 4,
        ),
        "tanh": (np.tanh, lambda a, z: 1 - a**2),
        "relu": (lambda z: np.maximum(z, 0), lambda a, z: z > 0),
        "linear": (lambda z: z, None),
    }
    model = keras.Sequential([layers.Dense(7, kind) for kind in functions])
    signals = forward_probe(model, x)
    assert signals.loss is None
    a = x.astype("float64")
    for layer, signal, (function, slope) in zip(
        model.layers, signals.layers, functions.values(), strict=True
    ):
        kernel, bias = (w.astype("float64") for w in layer.get_weights())
        z = a @ kernel + bias
        a = function(z)
        np.testing.assert_allclose(
            numpy(signal.activation), a, rtol=1e-5, atol=1e-6
        )
        assert signal.error is None
        if slope is None:
            assert signal.slope is None
        else:
            # The steepest place is found on a grid.
            np.testing.assert_allclose(
                numpy(signal.slope), slope(a, z), rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("cls", ["SimpleRNN", "LSTM", "GRU"])
def test_gradient_through_time(cls, backwards):
    x = sequences()
    layer = getattr(layers, cls)(2, go_backwards=backwards)
    model = compiled([keras.Input(x.shape[1:]), layer], "mse")
    y = np.ones((len(x), 2), "float32")
    [signal] = forward_probe(model, x, y).layers
    steps = signal.steps
    read = ops.convert_to_tensor(x[:, ::-1].copy() if backwards else x)
    direction = np.random.default_rng(3).normal(size=(4, 2)).astype("float32")
    direction = ops.convert_to_tensor(direction)

    def run(moved=None, t=0.0):
        states = layer.cell.get_initial_state(len(x))
        hidden = []
        for step in range(x.shape[1]):
            output, states = layer.cell(read[:, step], states)
            if step == moved:
                output = output + t * direction
                states = [output, *list(states)[1:]]
            hidden.append(output)
        return hidden

    np.testing.assert_allclose(
        numpy(steps.states), np.stack(list(map(numpy, run())), 1), rtol=1e-5
    )
    for moved in range(x.shape[1]):
        expected = derivative(
            lambda t, moved=moved: ops.mean(
                ops.square(run(moved, t)[-1] - ops.convert_to_tensor(y))
            )
        )
        measured = np.sum(numpy(steps.error)[:, moved] * numpy(direction))
        assert measured == pytest.approx(expected, rel=1e-4, abs=1e-8)


def test_gradient_of_the_carry():
    x = ops.convert_to_tensor(sequences())
    layer = layers.LSTM(2)
    model = compiled([keras.Input(x.shape[1:]), layer], "mse")
    y = ops.ones((len(x), 2))
    [signal] = forward_probe(model, x, y).layers
    draw = np.random.default_rng(3).normal(size=(4, 2)).astype("float32")
    direction = ops.convert_to_tensor(draw)

    def loss(t, moved):
        h, states = None, layer.cell.get_initial_state(len(x))
        for step in range(x.shape[1]):
            h, [_, c] = layer.cell(x[:, step], states)
            if step == moved:
                output_gate = h / ops.tanh(c)
                c = c + t * direction
                h = output_gate * ops.tanh(c)
            states = [h, c]
        return ops.mean(ops.square(h - y))

    for moved in range(x.shape[1]):
        measured = np.sum(numpy(signal.steps.carry_error)[:, moved] * draw)
        assert measured == pytest.approx(
            derivative(lambda t, moved=moved: loss(t, moved)), rel=1e-4
        )


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def test_gates_of_an_lstm():
    x = sequences()
    layer = layers.LSTM(2)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    [signal] = forward_probe(model, x).layers
    kernel, recurrent, bias = layer.get_weights()
    h = c = np.zeros((len(x), 2))
    for t in range(x.shape[1]):
        z = x[:, t] @ kernel + h @ recurrent + bias
        i, f, o = (sigmoid(z[:, k : k + 2]) for k in (0, 2, 6))
        c = f * c + i * np.tanh(z[:, 4:6])
        h = o * np.tanh(c)
        for name, gate in {"input": i, "forget": f, "output": o}.items():
            np.testing.assert_allclose(
                numpy(signal.steps.gates[name])[:, t], gate, rtol=1e-5
            )
            np.testing.assert_allclose(
                numpy(signal.steps.gate_slopes[name])[:, t],
                4 * gate * (1 - gate),
                rtol=1e-5,
            )
        np.testing.assert_allclose(
            numpy(signal.steps.slope)[:, t], 1 - np.tanh(c) ** 2, rtol=1e-5
        )
    np.testing.assert_allclose(numpy(signal.activation), h, rtol=1e-5)


@pytest.mark.parametrize("reset_after", [False, True])
def test_gates_of_a_gru(reset_after):
    x = sequences()
    layer = layers.GRU(2, reset_after=reset_after, bias_initializer="uniform")
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    [signal] = forward_probe(model, x).layers
    kernel, recurrent, bias = layer.get_weights()
    first, second = bias if reset_after else (bias, np.zeros(6))
    h = np.zeros((len(x), 2))
    for t in range(x.shape[1]):
        own = x[:, t] @ kernel + first
        z, r = (
            sigmoid(own[:, s] + h @ recurrent[:, s] + second[s])
            for s in (slice(0, 2), slice(2, 4))
        )
        s = slice(4, 6)
        if reset_after:
            new = own[:, s] + r * (h @ recurrent[:, s] + second[s])
        else:
            new = own[:, s] + (r * h) @ recurrent[:, s]
        h = z * h + (1 - z) * np.tanh(new)
        np.testing.assert_allclose(
            numpy(signal.steps.gates["update"])[:, t], z, rtol=1e-5
        )
        np.testing.assert_allclose(
            numpy(signal.steps.gates["reset"])[:, t], r, rtol=1e-5
        )
    np.testing.assert_allclose(numpy(signal.activation), h, rtol=1e-5)


def masked_model():
    return [
        keras.Input((6,), dtype="int32"),
        layers.Embedding(9, 3, mask_zero=True),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
        layers.TimeDistributed(layers.Dense(2, "relu")),
        layers.GRU(2),
        layers.Dense(1),
    ]


def test_masks():
    ids = token_ids()
    model = compiled(masked_model(), "mse")
    signals = forward_probe(model, ids, np.ones((4, 1)), training=False)
    embedding, forward, backward, *steps, gru, _ = signals.layers
    for signal in (embedding, forward, backward):
        np.testing.assert_array_equal(numpy(signal.mask), ids != 0)
    np.testing.assert_array_equal(numpy(forward.steps.mask), ids != 0)
    # Of the layer that reads backwards, in its order.
    np.testing.assert_array_equal(numpy(backward.steps.mask), ids[:, ::-1] != 0)
    assert len(steps) == 6
    for time, signal in enumerate(steps):
        np.testing.assert_array_equal(numpy(signal.mask), ids[:, time] != 0)
    np.testing.assert_array_equal(numpy(gru.steps.mask), ids != 0)
    # Nothing passes back to a state that was never taken.
    assert not numpy(forward.steps.error)[ids == 0].any()
    assert numpy(forward.steps.error)[ids != 0].all()
    np.testing.assert_allclose(
        numpy(signals.layers[-1].activation),
        model.predict(ids, verbose=0),
        rtol=1e-5,
    )


def test_masks_behind_attention():
    """It takes them off its inputs, and puts one on its output."""
    ids = token_ids()
    words = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(words)
    x = layers.MultiHeadAttention(1, 4, name="attention")(x, x)
    model = keras.Model(words, layers.Dense(1)(layers.LSTM(2)(x)))
    model.compile("sgd", "mse")
    signals = forward_probe(model, ids, np.ones((4, 1)), training=False)
    by_name = {s.layer.split("/")[-1]: s for s in signals.layers}
    attention = by_name["attention"]
    np.testing.assert_array_equal(numpy(attention.mask), ids != 0)
    assert not numpy(by_name["lstm"].steps.error)[ids == 0].any()
    np.testing.assert_allclose(
        float(signals.loss), model.evaluate(ids, np.ones(4), verbose=0), 1e-5
    )


def test_masks_of_layers_within_time():
    """A layer used at each step and without steps; two axes of time."""
    ids = np.array([[1, 2, 0], [3, 0, 0]])
    words = keras.Input((3,), dtype="int32")
    x = layers.Embedding(4, 2, mask_zero=True)(words)
    dense = layers.Dense(2, name="dense")
    outputs = [layers.TimeDistributed(dense)(x), dense(x)]
    signals = forward_probe(keras.Model(words, outputs), ids)
    found = [s for s in signals.layers if s.layer.split("/")[-1] == "dense"]
    *steps, whole = sorted(found, key=lambda s: len(s.activation.shape))
    assert len(steps) == 3
    for time, signal in enumerate(steps):
        np.testing.assert_array_equal(numpy(signal.mask), ids[:, time] != 0)
    np.testing.assert_array_equal(numpy(whole.mask), ids != 0)

    inner = layers.TimeDistributed(layers.Dense(2, name="inner"))
    model = keras.Sequential(
        [
            keras.Input((3, 2, 2)),
            layers.Masking(),
            layers.TimeDistributed(inner),
        ]
    )
    x = np.arange(12.0).reshape(3, 2, 2) * (ids != 0)[:, :, None, None]
    mask = np.any(x != 0, axis=-1)
    found = forward_probe(model, x).layers[1:]
    places = [(i, k) for i in range(3) for k in range(2)]
    assert len(found) == 6
    for (i, k), signal in zip(places, found, strict=True):
        np.testing.assert_array_equal(numpy(signal.mask), mask[:, i, k])


def test_activation_layer_called_by_keyword():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.relu = layers.ReLU()

        def call(self, x):
            return self.relu(inputs=x)

    x = np.array([[-1.0, 2.0]], "float32")
    [signal] = forward_probe(Model(), x).layers
    assert numpy(signal.activation).tolist() == [[0.0, 2.0]]
    assert numpy(signal.slope).tolist() == [[0.0, 1.0]]


def test_a_model_that_runs_eagerly(digits):
    """Its code may ask for values."""

    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, "softmax")

        def call(self, x):
            mean = float(ops.mean(ops.stop_gradient(x)))
            return self.dense(x if mean < 9.0 else -x)

    x, y = digits
    model = Model()
    model(x)
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    signals = forward_probe(model, x, y)
    np.testing.assert_allclose(
        float(signals.loss), model.evaluate(x, y, verbose=0), 1e-5
    )


def test_zeros_in_place_of_masked_outputs():
    ids = token_ids()
    model = keras.Sequential(
        [
            layers.Embedding(9, 3, mask_zero=True),
            layers.SimpleRNN(
                2,
                None,  # no activation: nothing rides along with the state
                return_sequences=True,
                zero_output_for_mask=True,
            ),
        ]
    )
    _, signal = forward_probe(model, ids).layers
    assert not numpy(signal.steps.states)[ids == 0].any()
    np.testing.assert_allclose(
        numpy(signal.activation), model.predict(ids, verbose=0), rtol=1e-5
    )


def test_several_inputs_and_outputs(digits):
    x, y = digits
    left, right = keras.Input((12,), name="a"), keras.Input((12,), name="b")
    hidden = layers.Concatenate()([layers.Dense(4, "tanh")(left), right])
    model = keras.Model(
        {"a": left, "b": right},
        {
            "kind": layers.Dense(3, "softmax", name="kind")(hidden),
            "size": layers.Dense(1, name="size")(hidden),
        },
    )
    model.compile(
        loss={"kind": "sparse_categorical_crossentropy", "size": "mse"},
        loss_weights={"kind": 1.0, "size": 0.5},
    )
    labels = {"kind": y, "size": x[:, :1]}
    inputs = {"a": x, "b": x[:, ::-1].copy()}
    weight = {"kind": np.arange(64.0), "size": np.ones(64)}
    signals = forward_probe(model, inputs, labels, weight)
    found = model.evaluate(
        inputs, labels, sample_weight=weight, batch_size=64, verbose=0
    )
    assert float(signals.loss) == pytest.approx(found[0], rel=1e-5)
    by_name = {s.layer.split("/")[-1]: s for s in signals.layers}
    size = numpy(by_name["size"].activation)
    np.testing.assert_allclose(
        numpy(by_name["size"].error),
        0.5 * 2 * (size - x[:, :1]) / 64,
        rtol=1e-5,
        atol=1e-8,
    )
    assert numpy(by_name["kind"].error).shape == (64, 3)


def test_loss_holds_every_penalty(digits):
    x, y = digits
    model = compiled(mlp())
    probe = ForwardProbe(model, x, y, training=False)
    expected = model.evaluate(x, y, batch_size=64, verbose=0)
    for _ in range(2):
        assert float(probe().loss) == pytest.approx(expected, rel=1e-5)


def test_unbuilt_model(digits):
    model = keras.Sequential([layers.Dense(4, "relu"), layers.Dense(3)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(True))
    signals = forward_probe(model, *digits)
    assert [tuple(s.activation.shape) for s in signals.layers] == [
        (64, 4),
        (64, 3),
    ]


def test_sees_the_present_weights(digits):
    x, y = digits
    model = compiled(mlp())
    probe = ForwardProbe(model, x, y)
    before = numpy(probe().layers[0].activation)
    np.testing.assert_array_equal(before, numpy(probe().layers[0].activation))
    model.fit(x, y, verbose=0)
    after = numpy(probe().layers[0].activation)
    kernel, bias = model.layers[0].get_weights()
    np.testing.assert_allclose(
        after, np.maximum(x @ kernel + bias, 0), rtol=1e-4, atol=1e-5
    )
    assert np.abs(after - before).max() > 1e-4


def test_drops_the_same_units_each_time(digits):
    x, y = digits
    model = compiled(mlp())
    probe = ForwardProbe(model, x, y)

    def dropped():
        return numpy(probe().layers[-2].activation) == 0.0

    first = dropped()
    assert 0.1 < first.mean() < 0.7
    model.fit(x, y, verbose=0)  # which moves the random states
    assert (dropped() == first).mean() > 0.95  # some signs change


def snapshot(model):
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.metrics_variables,
    ]
    return [np.array(ops.convert_to_numpy(v)) for v in variables]


def attributes(model):
    return {
        id(layer): {
            name: id(value)
            for name, value in vars(layer).items()
            if name not in ("_losses", "_loss_ids", "_inbound_nodes", "_called")
        }
        for layer in model._flatten_layers()
    }


@pytest.mark.parametrize("name", ["mlp", "recurrent", "subclassed"])
def test_leaves_the_model_as_it_was(name, digits):
    x, y = digits
    model = compiled(MODELS[name](), metrics=["accuracy"])
    model.fit(x, y, verbose=0)
    step, before, parts = model.train_function, snapshot(model), None
    parts = attributes(model)
    forward_probe(model, x, y)
    assert model.train_function is step
    assert attributes(model) == parts
    for a, b in zip(before, snapshot(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_failure_leaves_nothing_behind(digits):
    x, y = digits
    model = compiled(mlp())
    parts = attributes(model)
    with pytest.raises(Exception):  # noqa: B017, PT011 - the backend's own
        forward_probe(model, x[:, :5], y)
    assert attributes(model) == parts
    forward_probe(model, x, y)


def test_mixed_precision_with_loss_scaling(digits):
    x, y = digits
    with mixed_precision():
        half = compiled(convolutional())
    full = compiled(convolutional())
    full.set_weights(half.get_weights())
    half.compile(
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(), initial_scale=512.0
        ),
        "sparse_categorical_crossentropy",
    )
    pairs = zip(
        forward_probe(half, x, y, training=False).layers,
        forward_probe(full, x, y, training=False).layers,
        strict=True,
    )
    for a, b in pairs:
        assert keras.backend.standardize_dtype(a.error.dtype) == "float32"
        scale = np.abs(numpy(b.error)).max()
        # Eleven bits of float16, through a few layers.
        np.testing.assert_allclose(
            numpy(a.error), numpy(b.error), atol=2e-2 * scale
        )


@contextlib.contextmanager
def mixed_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


def test_a_loss_scale_that_overflows():
    """As the first one often does; the optimizer then skips steps."""
    with mixed_precision():
        model = keras.Sequential(
            [
                keras.Input((12,)),
                layers.Dense(8, "relu"),
                layers.Dense(1, dtype="float32"),
            ]
        )
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        assert float(model.optimizer.dynamic_scale) == 2.0**15
        x, y = np.ones((4, 12)), np.full((4, 1), 1e4)
        hidden, out = forward_probe(model, x, y).layers
        kernel = numpy(model.layers[-1].kernel)
        expected = (numpy(out.activation) - y) / 2 @ kernel.T
        # float16 has 11 bits.
        np.testing.assert_allclose(numpy(hidden.error), expected, rtol=2e-3)


def test_channels_first():
    signal = forward_probe(
        keras.Sequential(
            [keras.Input((3, 4, 4)), layers.BatchNormalization(axis=1)]
        ),
        np.ones((2, 3, 4, 4)),
    ).layers[0]
    assert signal.unit_axis == 1


def test_needs_a_loss(digits):
    model = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="has not been compiled"):
        forward_probe(model, *digits)


def test_regularizer_that_moves_axes():
    regularizer = regularizers.GroupLasso(0.1, axis=-1)
    layer = keras.layers.Conv2D(2, 3, kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((5, 5, 1)), layer])
    model.compile("sgd", "mse")
    x = np.ones((4, 5, 5, 1))
    signals = forward_probe(model, x, model.predict(x, verbose=0))
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype("float64")
    expected = 0.1 * 3.0 * np.sqrt((kernel**2).sum((0, 1, 2))).sum()
    assert float(signals.loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_error_of_an_encoder_that_is_read_by_its_states(kind, bidirectional):
    inputs, wanted = keras.Input((5, 3)), keras.Input((2, 4))
    encoder = kind(2 if bidirectional else 4, return_state=True)
    if bidirectional:
        encoder = layers.Bidirectional(encoder)
    _, *states = encoder(inputs)
    if bidirectional:
        halves = zip(
            states[: len(states) // 2], states[len(states) // 2 :], strict=True
        )
        states = [layers.Concatenate()(list(pair)) for pair in halves]
    decoded = kind(4)(wanted, initial_state=states)
    model = keras.Model([inputs, wanted], layers.Dense(1)(decoded))
    model.compile(loss="mse")
    random = np.random.default_rng(0)
    x = [
        random.normal(size=(6, *s)).astype("float32") for s in ((5, 3), (2, 4))
    ]
    signals = forward_probe(model, x, np.ones((6, 1)))
    for read in signals.layers[: 1 + bidirectional]:
        assert not numpy(read.error).any()
        # What reaches the last hidden state is what reaches the last step.
        hidden = numpy(read.other_errors[0])
        assert np.abs(hidden).max() > 0.0
        np.testing.assert_allclose(
            hidden, numpy(read.steps.error)[:, -1], rtol=1e-5, atol=1e-9
        )
        errors = [numpy(each).ravel() for each in read.other_errors]
        statistics = layer_statistics([read])
        np.testing.assert_allclose(
            numpy(statistics["error_rms"]),
            np.sqrt(np.mean(np.concatenate(errors) ** 2)),
            rtol=1e-5,
        )


def test_units_of_each_head():
    inputs = keras.Input((4, 6))
    attended = layers.MultiHeadAttention(2, 3)(inputs, inputs)
    model = keras.Model(inputs, attended)
    signals = forward_probe(model, np.ones((2, 4, 6), "float32"))
    axes = {
        each.layer.rpartition("/")[2]: each.unit_axes for each in signals.layers
    }
    assert axes["query"] == axes["value"] == (-2, -1)
    assert axes["attention_output"] == (-1,)


def test_activation_layers_beside_channels_first():
    model = keras.Sequential(
        [
            keras.Input((3, 4, 4)),
            layers.GlobalAveragePooling2D(
                data_format="channels_first", keepdims=True
            ),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(2),
            layers.ReLU(),
        ]
    )
    signals = forward_probe(model, np.ones((2, 3, 4, 4), "float32")).layers
    found = [each.unit_axis for each in signals if "re_lu" in each.layer]
    assert found == [1, -1]
