"""Monte-Carlo dropout against closed forms and NumPy."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import mc_predict
from keras_concepts._mc_predict import _Statistics, _summary
from keras_concepts.layers import (
    ActivationProbe,
    MonitoredBatchNormalization,
    MonteCarloDropout,
)

X = np.random.default_rng(0).normal(size=(6, 5, 4)).astype("float32")


@keras.saving.register_keras_serializable("tests")
class Spy(layers.Layer):
    """Notes the batch size and the `training` of each call."""

    def __init__(self, fail=False, **kwargs):
        super().__init__(**kwargs)
        self.fail = fail
        self.seen = []

    def call(self, x, training=None):
        self.seen.append((x.shape[0], training))
        if self.fail:
            raise ArithmeticError("on purpose")
        return x


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.normalize = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5)
        self.dense = layers.Dense(3, "softmax")

    def call(self, x, training=None):
        x = self.normalize(x[:, 0], training=training)
        return self.dense(self.drop(x, training=False))


def sequential(*stack, shape=(5, 4)):
    return keras.Sequential([keras.Input(shape), *stack])


def nested():
    inner = sequential(
        layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(3)
    )
    x = inputs = keras.Input((5, 4))
    x = inner(x, training=False)
    return keras.Model(inputs, layers.Flatten()(x))


def shared():
    drop = layers.Dropout(0.5)
    x = inputs = keras.Input((5, 4))
    x = layers.Dense(4)(drop(x))
    return keras.Model(inputs, layers.Dense(2)(drop(x)))


def attention(layer):
    x = inputs = keras.Input((5, 4))
    return keras.Model(inputs, layer(x, x))


def dot_attention():
    x = inputs = keras.Input((5, 4))
    return keras.Model(inputs, layers.Attention(dropout=0.5)([x, x]))


MODELS = {
    "Dropout": lambda: sequential(layers.Dropout(0.5)),
    "MonteCarloDropout": lambda: sequential(MonteCarloDropout(0.5)),
    "SpatialDropout1D": lambda: sequential(layers.SpatialDropout1D(0.5)),
    "AlphaDropout": lambda: sequential(layers.AlphaDropout(0.5)),
    "GaussianDropout": lambda: sequential(layers.GaussianDropout(0.5)),
    "GaussianNoise": lambda: sequential(layers.GaussianNoise(0.5)),
    "LSTM": lambda: sequential(layers.LSTM(3, dropout=0.5)),
    "cells": lambda: sequential(
        layers.RNN([layers.LSTMCell(3), layers.SimpleRNNCell(3, dropout=0.5)])
    ),
    "Bidirectional": lambda: sequential(
        layers.Bidirectional(layers.GRU(3, recurrent_dropout=0.5))
    ),
    "TimeDistributed": lambda: sequential(
        layers.TimeDistributed(layers.Dropout(0.5))
    ),
    "MultiHeadAttention": lambda: attention(
        layers.MultiHeadAttention(2, 2, dropout=0.5)
    ),
    "GroupedQueryAttention": lambda: attention(
        layers.GroupQueryAttention(2, 2, 1, dropout=0.5)
    ),
    "Attention": dot_attention,
    "nested": nested,
    "shared": shared,
    "Subclassed": Subclassed,
}


def state(model):
    """Every number and function that a prediction might change."""
    values = [np.array(keras.ops.convert_to_numpy(v)) for v in model.variables]
    return values, [
        (layer.name, "call" in vars(layer), getattr(layer, "training", None))
        for layer in model._flatten_layers()
    ]


def equal(a, b):
    return a[1] == b[1] and all(map(np.array_equal, a[0], b[0]))


@pytest.mark.parametrize("name", MODELS)
def test_only_dropout_is_random(name):
    model = MODELS[name]()
    plain = model.predict(X, verbose=0)
    if keras.backend.backend() == "torch":
        model.train()
    before, function = state(model), model.predict_function
    found = mc_predict(model, X, samples=4, seed=0)
    assert found.mean.shape == found.std.shape == plain.shape
    assert found.std.max() > 1e-3
    assert equal(before, state(model))
    assert model.predict_function is function
    if name != "MonteCarloDropout":
        np.testing.assert_array_equal(model.predict(X, verbose=0), plain)
    again = mc_predict(model, X, samples=4, seed=0)
    np.testing.assert_array_equal(found.mean, again.mean)
    other = mc_predict(model, X, samples=4, seed=1)
    assert not np.array_equal(found.mean, other.mean)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_mean_and_spread_of_a_linear_layer(rate):
    """Var Σ x_i w_i m_i/(1-r) = Σ (x_i w_i)² r/(1-r), m_i Bernoulli(1-r)."""
    x, samples = X[:, 0], 3000
    model = sequential(layers.Dropout(rate), layers.Dense(2), shape=(4,))
    kernel, bias = (w.astype("float64") for w in model.get_weights())
    found = mc_predict(model, x, samples, seed=0)
    std = np.sqrt((x.astype("float64") ** 2) @ kernel**2 * rate / (1 - rate))
    error = np.abs(found.mean - (x @ kernel + bias)) / std
    assert error.max() < 4 / np.sqrt(samples)
    np.testing.assert_allclose(found.std, std, rtol=5 / np.sqrt(samples))
    assert found.entropy is None
    assert found.mutual_information is None


def test_statistics_are_those_of_numpy():
    random = np.random.default_rng(1)
    # A large offset shows cancellation, few samples show n - 1.
    samples = 1e6 + random.normal(size=(3, 7, 2)).astype("float64")
    parts = (_Statistics(), _Statistics())
    for some in (samples[:2], samples[2:]):
        parts[0].add(some[:, :5])
        parts[1].add(some[:, 5:])
    found = _summary(parts, None)
    np.testing.assert_allclose(found.mean, samples.mean(0), rtol=1e-14)
    np.testing.assert_allclose(found.std, samples.std(0), rtol=1e-8)
    assert found.entropy is None


def entropy(p):
    return -np.sum(p * np.log(p), axis=-1)


@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 3)])
def test_information_of_a_softmax(shape):
    logits = np.random.default_rng(2).normal(size=(3, *shape))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    statistics = _Statistics()
    for some in (p[:2], p[2:]):
        statistics.add(some.astype("float32"))
    found = _summary((statistics,), None)
    total, each = entropy(p.mean(0)), entropy(p).mean(0)
    assert found.entropy.shape == shape[:-1]
    np.testing.assert_allclose(found.entropy, total, rtol=1e-6)
    # The difference of two float32 numbers' functions, far below them.
    np.testing.assert_allclose(
        found.mutual_information, total - each, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(6, 1), (6,)])
def test_information_of_a_sigmoid_unit(shape):
    p = np.random.default_rng(2).uniform(size=(3, *shape))
    p[:, 0] = np.reshape([0.0, 1.0, 1.0], p[:, 0].shape)  # of two minds
    statistics = _Statistics()
    for some in (p[:2], p[2:]):
        statistics.add(some)
    found = _summary((statistics,), None)
    both = np.stack([p, 1 - p], -1).reshape(3, 6, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.nan_to_num(entropy(both)).mean(0)
    np.testing.assert_allclose(found.entropy, entropy(both.mean(0)))
    np.testing.assert_allclose(
        found.mutual_information, entropy(both.mean(0)) - each, atol=1e-12
    )
    assert found.mutual_information[0] == found.entropy[0]


def test_probabilities_can_be_named():
    model = sequential(
        layers.Dropout(0.5), layers.Dense(1, "sigmoid"), shape=(4,)
    )
    x = X[:, 0]
    assert mc_predict(model, x, 2).entropy.shape == (6,)
    assert mc_predict(model, x, 2, probabilities=True).entropy.shape == (6,)
    assert mc_predict(model, x, 2, probabilities=False).entropy is None
    multi_label = sequential(
        layers.Dropout(0.5), layers.Dense(3, "sigmoid"), shape=(4,)
    )
    assert mc_predict(multi_label, x, 2).entropy is None
    with pytest.raises(ValueError, match=r"sum to 1.*shape \(6, 3\)"):
        mc_predict(multi_label, x, 2, probabilities=True)


@pytest.mark.parametrize("batch_size", [1, 6])
@pytest.mark.parametrize("units", [3, 1])
def test_a_row_of_nan_stays_alone(units, batch_size):
    last = layers.Dense(units, "softmax" if units > 1 else "sigmoid")
    model = sequential(layers.Dropout(0.5), last, shape=(4,))
    x = X[:, 0].copy()
    x[2] = np.nan
    found = mc_predict(model, x, 9, batch_size, seed=0)
    for statistic in found:
        each = np.isnan(statistic.reshape(6, -1)).all(axis=1)
        assert each.tolist() == [False, False, True, False, False, False]
    expected = mc_predict(model, X[:, 0], 9, batch_size, seed=0)
    others = np.arange(6) != 2
    np.testing.assert_allclose(found.entropy[others], expected.entropy[others])
    scores = sequential(layers.Dropout(0.5), layers.Dense(3), shape=(4,))
    assert mc_predict(scores, x, 2, batch_size).entropy is None


def test_the_rest_is_in_inference_mode_and_sees_one_batch():
    spy = Spy()
    spy.rate = 0.5  # of something else
    model = sequential(spy, layers.BatchNormalization(), layers.Dropout(0.5))
    model.layers[1].moving_mean.assign([1.0, 2.0, 3.0, 4.0])
    spy.seen.clear()
    found = mc_predict(model, X, samples=2000, batch_size=4, seed=0)
    sizes, training = map(set, zip(*spy.seen, strict=True))
    # TensorFlow may trace the last batch with an unknown size.
    assert sizes <= {4, 2, None}
    assert training == {False}
    normal = (X - [1, 2, 3, 4]) / np.sqrt(1 + model.layers[1].epsilon)
    error = np.abs(found.mean - normal).max() / np.abs(normal).max()
    assert error < 5 / np.sqrt(2000)


def test_saved_model(tmp_path):
    model = MODELS["Subclassed"]()
    plain = model.predict(X, verbose=0)
    expected = mc_predict(model, X, samples=3, seed=0)
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    found = mc_predict(model, X, samples=3, seed=0)
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    np.testing.assert_allclose(model.predict(X, verbose=0), plain, rtol=1e-6)


@pytest.mark.optimized
def test_a_trained_model_goes_on_as_if_nothing_had_happened(digits):
    def train(interrupt):
        keras.utils.set_random_seed(0)
        model = sequential(
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(3, "softmax"),
            shape=(12,),
        )
        model.compile("adam", "sparse_categorical_crossentropy")
        for _ in range(2):
            model.fit(*digits, verbose=0, shuffle=False)
            if interrupt:
                mc_predict(model, digits[0], samples=3)
        return model.get_weights()

    for a, b in zip(train(False), train(True), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("where", [0, 1])
def test_a_failure_leaves_the_model_as_it_was(where):
    stack = [layers.LSTM(3, dropout=0.5, return_sequences=True)]
    spy = Spy()
    model = sequential(*stack[:where], spy, *stack[where:])
    plain = model.predict(X, verbose=0)
    before, function = state(model), model.predict_function
    spy.fail = True
    with pytest.raises(ArithmeticError, match="on purpose"):
        mc_predict(model, X, samples=2)
    assert equal(before, state(model))
    assert model.predict_function is function
    spy.fail = False
    np.testing.assert_array_equal(model.predict(X, verbose=0), plain)
    assert mc_predict(model, X, samples=2).std.max() > 0.0


def test_a_failure_inside_a_cell_leaves_no_mask():
    fail = True

    def activation(x):
        if fail:
            raise ArithmeticError("on purpose")
        return keras.ops.tanh(x)

    layer = layers.SimpleRNN(3, dropout=0.5, recurrent_dropout=0.5)
    model = sequential(layer)
    layer.cell.activation = activation
    with pytest.raises(ArithmeticError, match="on purpose"):
        mc_predict(model, X, samples=2)
    fail = False
    assert mc_predict(model, X[:2], samples=2).std.max() > 0.0


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((5, 4), name="b")
    joined = layers.Dropout(0.5)(a + b[:, 0])
    model = keras.Model(
        {"a": a, "b": b},
        {"label": layers.Softmax()(joined), "amount": layers.Dense(2)(joined)},
    )
    found = mc_predict(model, {"a": X[:, 1], "b": X}, samples=3, batch_size=4)
    assert set(found) == {"label", "amount"}
    assert found["label"].mean.shape == (6, 4)
    assert found["label"].entropy.shape == (6,)
    assert found["amount"].mean.shape == (6, 2)
    assert found["amount"].entropy is None
    with pytest.raises(ValueError, match=r"Received: lengths \[5, 6\]"):
        mc_predict(model, {"a": X[:5, 1], "b": X})


def test_without_a_seed_it_follows_the_seed_of_keras():
    model = MODELS["Dropout"]()
    means = []
    for seed in (1, 1, 2):
        keras.utils.set_random_seed(seed)
        means.append(mc_predict(model, X, samples=2).mean)
    np.testing.assert_array_equal(means[0], means[1])
    assert not np.array_equal(means[0], means[2])
    assert not np.array_equal(means[2], mc_predict(model, X, samples=2).mean)


def test_a_changed_rate_is_heeded():
    model = MODELS["Dropout"]()
    stds = []
    for rate in (0.1, 0.9, 0.1):
        model.layers[0].rate = rate
        stds.append(mc_predict(model, X, samples=20, seed=0).std)
    np.testing.assert_array_equal(stds[0], stds[2])
    assert stds[1].mean() > 2 * stds[0].mean()


def test_a_model_is_not_kept_alive():
    model = MODELS["Dropout"]()
    mc_predict(model, X, samples=2)
    alive = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert alive() is None


def test_samples_and_layers_draw_apart():
    x = inputs = keras.Input((50,))
    twins = [layers.Dropout(0.5, seed=7)(x) for _ in range(2)]
    model = keras.Model(inputs, layers.Subtract()(twins))
    found = mc_predict(model, np.ones((3, 50)), samples=4, seed=0)
    assert found.std.max() > 0.0
    assert len({row.tobytes() for row in found.mean}) == 3


def test_errors():
    with pytest.raises(ValueError, match="needs a model that is random"):
        mc_predict(sequential(layers.Dropout(0.0), layers.Dense(1)), X)
    stateful = keras.Sequential(
        [
            keras.Input(batch_shape=(6, 5, 4)),
            layers.GRU(2, stateful=True, dropout=0.5, name="memory"),
        ]
    )
    with pytest.raises(ValueError, match=r"'memory' with stateful=True"):
        mc_predict(stateful, X)
    model = MODELS["Dropout"]()
    with pytest.raises(ValueError, match=r"the same length, at least 1.*\[0\]"):
        mc_predict(model, X[:0])
    with pytest.raises(ValueError, match=r"`samples` of `mc_predict` must be"):
        mc_predict(model, X, samples=0)
    with pytest.raises(TypeError, match=r"`batch_size` of `mc_predict` must"):
        mc_predict(model, X, batch_size=2.5)
    for x in (iter([X]), 3.0, [1.0, 2.0]):
        with pytest.raises(TypeError, match=r"`x` of `mc_predict` must be arr"):
            mc_predict(model, x)


class AlwaysDrops(layers.Layer):
    """As it is made by hand for Monte-Carlo dropout."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(0)

    def call(self, x):
        return keras.random.dropout(x, 0.5, seed=self.seed)


@pytest.mark.parametrize("samples", [1, 40])
def test_a_model_that_is_random_of_its_own(samples):
    model = sequential(AlwaysDrops(), shape=(50,))
    x = np.ones((4, 50), "float32")
    found = mc_predict(model, x, samples=samples, seed=1)
    # Each output is 0 or 2, as likely: mean 1 and deviation 1.
    assert found.mean.mean() == pytest.approx(1.0, abs=0.3)
    if samples > 1:
        assert found.std.mean() == pytest.approx(1.0, abs=0.05)
    again = mc_predict(model, x, samples=samples, seed=1)
    np.testing.assert_array_equal(found.mean, again.mean)


def branches():
    """Masks, attention that takes them off, and two ways to one output."""
    inputs = keras.Input((5,), dtype="int32")
    x = layers.Embedding(9, 4, mask_zero=True)(inputs)
    x = layers.LayerNormalization()(x)
    read = layers.MultiHeadAttention(1, 4, dropout=0.5)(x, x)
    joined = layers.Concatenate()([x, layers.Dense(4)(x), read])
    pooled = layers.GlobalAveragePooling1D()(joined)
    return keras.Model(inputs, [layers.Dense(2)(pooled), layers.Dense(3)(x)])


class Adds(layers.Layer):
    """Writes to what it was given, as PyTorch's `inplace=True`."""

    def call(self, x):
        if keras.backend.backend() == "torch":
            x.add_(1.0)
            return x
        return x + 1.0


IDS = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 0], [8, 7, 6, 5, 4]])


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="the others compile it"
)
@pytest.mark.parametrize(
    ("build", "x"),
    [
        (branches, IDS),
        (lambda: sequential(layers.Dense(3), Adds(), layers.Dropout(0.5)), X),
        (nested, X),
    ],
    ids=["branches", "in place", "nested"],
)
def test_what_is_not_random_is_computed_once(build, x, monkeypatch):
    from keras_concepts._backend import fixed_part

    model = build()
    found = mc_predict(model, x, samples=3, batch_size=2, seed=5)
    monkeypatch.setattr(fixed_part, "_is_plain", lambda model: False)
    expected = mc_predict(model, x, samples=3, batch_size=2, seed=5)
    for a, b in zip(
        keras.tree.flatten(found), keras.tree.flatten(expected), strict=True
    ):
        if b is not None:
            np.testing.assert_array_equal(a, b)


def test_a_wrapped_model():
    class Wrapper:  # as `DistributedDataParallel` is
        module = keras.layers.Dense(1)

    with pytest.raises(TypeError, match=r"Wrapper\. Pass what it wraps"):
        mc_predict(Wrapper(), np.ones((2, 3)))


def test_what_layers_measure_of_themselves_is_no_random_state():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            MonitoredBatchNormalization(),
            ActivationProbe(),
            layers.Dropout(0.5),
            layers.Dense(2),
        ]
    )
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    _ = model(x, training=True)
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.variables]
    prediction = mc_predict(model, x, samples=4, seed=0)
    assert (prediction.std > 0.0).any()
    for old, variable in zip(before, model.variables, strict=True):
        now = keras.ops.convert_to_numpy(variable)
        np.testing.assert_array_equal(old, now)
