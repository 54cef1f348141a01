"""Against one pass in float64 NumPy, batch by batch."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_concepts as kc
from batch_norms import moments
from older_keras import needs_renorm

X = np.random.default_rng(0).normal(3.0, 2.0, (21, 6)).astype("float32")
BATCHES = [X[:8], X[8:16], X[16:]]  # the last is a smaller one


def numpy(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def network(**arguments):
    """Two layers, the second behind a dropout that must be off."""
    return keras.Sequential(
        [
            keras.Input((6,)),
            layers.BatchNormalization(name="first"),
            layers.Dropout(0.5),
            layers.Dense(4, "relu", name="hidden"),
            layers.BatchNormalization(name="second", **arguments),
            layers.Dense(3, "softmax"),
        ]
    )


def assert_recalibrated(model, batches=BATCHES, rtol=1e-5):
    """The second layer's inputs are normalized by each batch's statistics."""
    first, _, dense, second, _ = model.layers
    gamma, beta = (v.astype("float64") for v in numpy(first.weights[:2]))
    w, b = (v.astype("float64") for v in numpy(dense.weights))
    hidden = []
    for x in batches:
        _, mean, variance = moments(x)
        normal = (x - mean) / np.sqrt(variance + first.epsilon)
        hidden.append(np.maximum((normal * gamma + beta) @ w + b, 0.0))
    for layer, inputs in ((first, batches), (second, hidden)):
        _, mean, variance = moments(np.concatenate(inputs))
        found = numpy([layer.moving_mean, layer.moving_variance])
        np.testing.assert_allclose(found[0], mean, rtol=rtol, atol=1e-6)
        np.testing.assert_allclose(found[1], variance, rtol=rtol)


class Dataset(keras.utils.PyDataset):
    def __len__(self):
        return len(BATCHES)

    def __getitem__(self, index):
        return BATCHES[index], np.zeros(len(BATCHES[index]))


def test_arrays():
    model = network()
    assert kc.recalibrate_batch_norm(model, X, 8) is None
    assert_recalibrated(model)


def of_the_backend():
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return tf.data.Dataset.from_tensor_slices(X).batch(8)
        case "torch":
            import torch

            return torch.utils.data.DataLoader(torch.tensor(X), 8)
    return iter(map(keras.ops.convert_to_tensor, BATCHES))


@pytest.mark.parametrize(
    "data",
    [
        Dataset,
        lambda: [X],
        lambda: iter(BATCHES),
        lambda: ((x, None, np.zeros(len(x))) for x in BATCHES),
        of_the_backend,
    ],
    ids=["dataset", "list", "iterator", "generator", "backend"],
)
def test_batches(data):
    model = network()
    kc.recalibrate_batch_norm(model, data(), 8)
    assert_recalibrated(model)


def test_some_steps():
    model = network()
    kc.recalibrate_batch_norm(model, X, 8, steps=2)
    assert_recalibrated(model, BATCHES[:2])


def test_masks():
    """Padding counts nowhere."""
    tokens = np.array([[3, 1, 0, 0], [2, 0, 0, 0], [1, 1, 1, 0]])
    model = keras.Sequential(
        [
            keras.Input((4,), dtype="int32"),
            layers.Embedding(4, 2, mask_zero=True),
            layers.BatchNormalization(),
        ]
    )
    kc.recalibrate_batch_norm(model, tokens, 2)
    table = numpy(model.layers[0].weights)[0]
    _, mean, variance = moments(table[tokens], tokens > 0)
    norm = model.layers[1]
    found = numpy([norm.moving_mean, norm.moving_variance])
    np.testing.assert_allclose(found, [mean, variance], rtol=1e-5, atol=1e-7)


def test_a_shared_layer_of_two_inputs():
    a, b = keras.Input((6,)), keras.Input((6,))
    norm = layers.BatchNormalization(axis=-1)
    model = keras.Model([a, b], norm(a) + norm(b))
    kc.recalibrate_batch_norm(model, [X, 2.0 * X], 8)
    _, mean, variance = moments(np.concatenate([X, 2.0 * X]))
    found = numpy([norm.moving_mean, norm.moving_variance])
    np.testing.assert_allclose(found, [mean, variance], rtol=1e-5)


def test_nothing_else_changes():
    model = network(momentum=0.7)
    model.add(layers.BatchNormalization(trainable=False))
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(X, np.zeros(21), verbose=0)
    model.predict(X, verbose=0)

    def state():
        moving = ("first/moving", "second/moving")
        return numpy(
            [
                v
                for v in [
                    *model.variables,
                    *model.metrics_variables,
                    *model.optimizer.variables,
                ]
                if not any(name in v.path for name in moving)
            ]
        )

    def rest():
        flags = getattr(model, "training", None)
        calls = [vars(layer).get("call") for layer in model.layers]
        functions = model.train_function, model.predict_function
        return functions, flags, calls, model.layers[3].momentum

    before, functions = state(), rest()
    kc.recalibrate_batch_norm(model, X, 8)
    for a, b in zip(before, state(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert rest() == functions
    assert_recalibrated(
        keras.Sequential([keras.Input((6,)), *model.layers[:-1]])
    )


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="no generator of its own"
)
def test_random_generator_of_the_backend():
    """From which an LSTM draws even if its dropout is off."""
    import torch

    model = keras.Sequential(
        [
            keras.Input((3, 2)),
            layers.BatchNormalization(),
            layers.LSTM(2, dropout=0.2),
        ]
    )
    before = torch.get_rng_state()
    kc.recalibrate_batch_norm(model, X.reshape(-1, 3, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_errors():
    model = network()
    for data, error, text in (
        (X[:0], ValueError, "one row"),
        (iter([]), ValueError, "one row"),
        ([X, X[:3]], ValueError, "the same length"),
        ([[1.0, 2.0]], TypeError, "axis"),
        (3, TypeError, "arrays"),
    ):
        with pytest.raises(error, match=text):
            kc.recalibrate_batch_norm(model, data)
    with pytest.raises(ValueError, match="`batch_size`"):
        kc.recalibrate_batch_norm(model, X, 0)
    with pytest.raises(ValueError, match="needs a built model"):
        kc.recalibrate_batch_norm(keras.Sequential([layers.Dense(1)]), X)
    model.trainable = False
    with pytest.raises(ValueError, match="frozen"):
        kc.recalibrate_batch_norm(model, X)


@needs_renorm
def test_batch_renormalization_is_refused():
    with pytest.raises(ValueError, match="renorm=True"):
        kc.recalibrate_batch_norm(network(renorm=True), X)


class InferenceInFit(keras.Model):
    """Keras' `fit` calls a model without `training` in inference mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.dense = layers.BatchNormalization(), layers.Dense(1)

    def call(self, x):
        return self.dense(self.norm(x))


def test_a_call_without_training_is_refused():
    model = InferenceInFit()
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], verbose=0)
    before = model.get_weights()
    with pytest.raises(ValueError, match="takes no `training`"):
        kc.recalibrate_batch_norm(model, X)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


class OwnSignature(layers.BatchNormalization):
    """Always in training mode; its arguments have other names."""

    def call(self, x, **kwargs):
        return super().call(x, **{**kwargs, "training": True})


def test_a_layer_that_is_always_in_training_mode():
    model = keras.Sequential([keras.Input((6,)), OwnSignature()])
    kc.recalibrate_batch_norm(model, X)
    np.testing.assert_allclose(
        model.layers[0].moving_mean, X.mean(axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_data_that_are_not_finite_change_nothing(bad):
    model = network()
    before = model.get_weights()
    data = X.copy()
    data[9, 1] = bad
    with pytest.raises(
        ValueError, match=r"`data` .* in batch 2 .* is unchanged"
    ):
        kc.recalibrate_batch_norm(model, data, 8)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_wrapped_model():
    class Wrapper:  # as `DistributedDataParallel` is
        module = keras.layers.Dense(1)

    with pytest.raises(TypeError, match=r"Wrapper\. Pass what it wraps"):
        kc.recalibrate_batch_norm(Wrapper(), np.ones((2, 3)))
