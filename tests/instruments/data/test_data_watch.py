import importlib.util
import json

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts.instruments.data.batch_facts import BatchFacts
from keras_concepts.instruments.data.data_watch import DataWatch
from keras_concepts.instruments.heads import heads_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype("float32")
Y = np.sort(RANDOM.integers(0, 3, 96)).astype("int32")
HAS_TF = importlib.util.find_spec("tensorflow") is not None
BACKEND = keras.backend.backend()


class Watching(keras.callbacks.Callback):
    """Keeps what a watch says at the beginning and after each epoch."""

    def __init__(self):
        super().__init__()
        self.facts, self.complete = [], []

    def on_train_begin(self, logs=None):
        self.watch = DataWatch(self.model)
        self.facts.append(self.watch.facts())

    def on_epoch_end(self, epoch, logs=None):
        self.facts.append(self.watch.facts())
        self.complete.append(self.watch.is_complete)
        self.fit = self.watch.fit_facts()
        self.heads = self.watch.head_facts()
        self.probe = self.watch.probe(16)
        self.held = self.watch.validation_probe(16)

    def on_train_end(self, logs=None):
        self.watch.close()


def a_model(loss="sparse_categorical_crossentropy"):
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, "relu"),
            layers.Dropout(0.2),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("sgd", loss)
    return model


def watched(*data, epochs=2, model=None, **fit):
    watching = Watching()
    model = model or a_model()
    model.fit(*data, epochs=epochs, verbose=0, callbacks=[watching], **fit)
    for facts in watching.facts:
        assert facts == json.loads(json.dumps(facts))
    return watching


class Batches(keras.utils.PyDataset):
    def __init__(self, weights=False):
        super().__init__()
        self.weights = weights

    def __len__(self):
        return 6

    def __getitem__(self, index):
        part = slice(16 * index, 16 * index + 16)
        weight = (np.ones(16, "float32"),) if self.weights else ()
        return (X[part], Y[part], *weight)


def generator():
    while True:
        for index in range(6):
            yield Batches()[index]


def tf_data():
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices((X, Y))
        .shuffle(96, reshuffle_each_iteration=True)
        .batch(16)
        .prefetch(2)
    )


def loader():
    import torch

    data = torch.utils.data.TensorDataset(
        torch.from_numpy(X), torch.from_numpy(Y)
    )
    return torch.utils.data.DataLoader(data, batch_size=16, shuffle=True)


SOURCES = {
    "arrays": (lambda: X, {"y": Y}),
    "py_dataset": (Batches, {}),
    "generator": (generator, {"steps_per_epoch": 4, "shuffle": False}),
}
if HAS_TF:
    SOURCES["tf_data"] = tf_data, {"shuffle": False}
    SOURCES["tf_data_repeated"] = (
        lambda: tf_data().repeat(),
        {"steps_per_epoch": 4, "shuffle": False},
    )
if BACKEND == "torch":
    SOURCES["loader"] = loader, {"shuffle": False}
    SOURCES["loader_cut"] = loader, {"steps_per_epoch": 3, "shuffle": False}


def weights_after(source, callbacks):
    make, fit = SOURCES[source]
    model = a_model()
    model.fit(make(), epochs=3, verbose=0, callbacks=callbacks, **fit)
    return [ops.convert_to_numpy(each) for each in model.variables]


@pytest.mark.parametrize("source", SOURCES)
def test_watching_changes_nothing(source):
    watching = Watching()
    for with_watch, without in zip(
        weights_after(source, [watching]),
        weights_after(source, []),
        strict=True,
    ):
        np.testing.assert_array_equal(with_watch, without)
    assert watching.facts[-1]["rows"] >= 64
    assert watching.facts[-1]["targets"][0]["form"] == "sparse"


def test_arrays():
    watching = watched(
        X,
        Y,
        validation_split=0.25,
        class_weight={0: 2.0, 1: 1.0},
        batch_size=8,
    )
    facts = watching.facts[0]
    assert (facts["source"], facts["of"]) == ("arrays", 72)
    [labels] = facts["targets"]
    assert labels["sorted"] == 1.0
    assert labels["classes_per_batch"] == 1.0  # shuffled
    assert labels["shares"][2] < 0.2 < np.mean(Y == 2)
    # The loss of the best constant, class weights included.
    counts, w = np.bincount(Y[:72], minlength=3), np.array([2.0, 1, 1])
    p = counts * w / (counts * w).sum()
    expected = -(counts * w * np.log(p + 1e-12)).sum() / 72
    assert labels["constant_loss"] == pytest.approx(expected, rel=1e-3)
    assert facts["validation"]["rows"] == 24
    assert watching.fit == {
        "shuffle": True,
        "class_weight": {"0": 2.0, "1": 1.0},
        "sample_weight": False,
        "validation_split": 0.25,
        "has_validation": True,
        "initial_epoch": 0,
    }
    assert watching.complete == [True, True]
    x, y, weight = watching.probe
    assert (x.shape, y.shape, weight.shape) == ((16, 4), (16,), (16,))
    assert set(y) == set(Y[:72])
    assert watching.held[0].shape == (16, 4)
    assert watching.held[2] is None


def test_arrays_in_their_order():
    watching = watched(
        X, Y, shuffle=False, batch_size=8, sample_weight=np.ones(96)
    )
    assert watching.facts[0]["targets"][0]["classes_per_batch"] < 0.6
    assert watching.fit["shuffle"] is False
    assert watching.fit["sample_weight"] is True
    assert watching.facts[0]["validation"] is watching.held is None
    within = watched(X, Y, shuffle="batch", batch_size=8)
    assert within.fit["shuffle"] is False
    assert within.facts[0]["targets"][0]["classes_per_batch"] < 0.6


@pytest.mark.parametrize("weights", [False, True])
def test_batches(weights):
    watching = watched(Batches(weights), shuffle=False, validation_data=(X, Y))
    assert watching.facts[0] is None
    facts = watching.facts[1]
    assert (facts["source"], facts["rows"], facts["step"]) == ("batches", 96, 6)
    [values] = facts["inputs"]
    assert values["mean"] == pytest.approx(X.mean(), rel=1e-4)
    [labels] = facts["targets"]
    assert labels["sorted"] == 1.0
    assert labels["runs"] == labels["distinct"]
    assert labels["classes_per_batch"] < 0.6
    assert watching.fit["sample_weight"] is weights
    assert watching.fit["shuffle"] is None
    assert "Validation" in facts["missing"][0]
    x, y, weight = watching.probe
    np.testing.assert_array_equal(x, X[:16])
    np.testing.assert_array_equal(y, Y[:16])
    assert (weight is not None) is weights
    # Later epochs are not watched.
    assert watching.facts[2]["rows"] == 96
    assert watching.facts[2]["targets"] == facts["targets"]


def test_a_watch_that_sees_enough():
    def batches():
        for _ in range(90):
            yield np.ones((64, 4), "float32"), np.zeros(64, "int32")

    watching = watched(batches(), epochs=1, steps_per_epoch=80, shuffle=False)
    assert watching.complete == [True]
    assert watching.facts[1]["rows"] == 64 * 64
    assert watching.facts[1]["inputs"][0]["repeated_rows"] == 1.0


def test_a_watch_of_small_batches():
    def batches():
        for _ in range(300):
            yield np.ones((2, 4), "float32"), np.zeros(2, "int32")

    watching = watched(batches(), epochs=1, steps_per_epoch=270, shuffle=False)
    assert watching.complete == [True]
    assert watching.facts[1]["rows"] == 256 * 2


def test_what_batches_hold_of_large_inputs():
    x = np.zeros((8, 300_000), "float32")
    x[5, 7] = np.nan
    facts = BatchFacts()
    heads = heads_of(a_model())
    facts.update(x, np.zeros(8), None, heads)
    [values] = facts.facts(heads, None)["inputs"]
    assert values["non_finite"] == 1
    assert (values["mean"], values["features"]) == (0.0, 300_000)


def test_a_fit_that_fails():
    model = a_model()
    iterators = []

    class Failing(Watching):
        def on_train_begin(self, logs=None):
            super().on_train_begin(logs)
            iterators.append(self.watch._fit.iterator)

        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        model.fit(Batches(), verbose=0, callbacks=[Failing()])
    [iterator] = iterators
    assert "_get_iterator" not in vars(iterator)
    assert "get_jax_iterator" not in vars(iterator.data_adapter)


def test_no_fit_at_all():
    watch = DataWatch(a_model())
    assert watch.facts()["missing"] == ["No `fit` of Keras' own is running."]
    assert watch.probe() is watch.validation_probe() is None
    assert watch.fit_facts()["has_validation"] is False
    assert watch.head_facts()[0]["activation"] == "softmax"


class Added(keras.Model):
    """An autoencoder whose loss is added, so that `fit` needs no labels."""

    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, x):
        y = self.dense(x)
        self.add_loss(ops.mean(ops.square(x - y)))
        return y


@pytest.mark.parametrize("kind", ["array", "batches"])
def test_no_labels(kind):
    model = Added()
    model.compile("sgd")
    data = X if kind == "array" else ((X[:16],) for _ in range(9))
    watching = watched(
        data, model=model, epochs=1, steps_per_epoch=4, shuffle=False
    )
    facts = watching.facts[1]
    assert facts["targets"] == []
    assert "labels" in facts["missing"][0]
    assert watching.probe[1] is None
    assert facts["inputs"][0]["features"] == 4


class Named(Batches):
    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"a": x, "b": x}, {"p": x[:, :1], "q": y}


@pytest.mark.parametrize("kind", ["array", "batches"])
def test_several_inputs_and_outputs(kind):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    p, q = layers.Dense(1, name="p")(a), layers.Dense(3, name="q")(b)
    model = keras.Model({"a": a, "b": b}, {"p": p, "q": q})
    sparse = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", {"p": "mse", "q": sparse})
    arrays = {"a": X, "b": X}, {"p": X[:, 0], "q": Y}
    data = arrays if kind == "array" else (Named(),)
    watching = watched(*data, model=model, epochs=1, shuffle=False)
    facts = watching.facts[1]
    assert [each["name"] for each in facts["inputs"]] == ["a", "b"]
    losses = {t["output"]: t["constant_loss"] for t in facts["targets"]}
    assert losses["p"] == pytest.approx(X[:, 0].var(), rel=1e-3)
    shares = np.bincount(Y) / 96
    expected = -(shares * np.log(shares)).sum()
    assert losses["q"] == pytest.approx(expected, rel=1e-3)
    assert set(watching.probe[0]) == {"a", "b"}


def test_models_of_somebodys_own_are_known_after_a_step():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3, "softmax")

        def call(self, x):
            return self.dense(x)

    class Chain(keras.Sequential):
        def __init__(self):
            super().__init__([layers.Dense(3), layers.Softmax()])

    for make, data in ((Own, (X, Y)), (Own, (Batches(),)), (Chain, (X, Y))):
        model = make()
        model.compile("sgd", "sparse_categorical_crossentropy")
        watching = watched(*data, model=model)
        assert watching.heads[0]["activation"] == "softmax"
        [labels] = watching.facts[-1]["targets"]
        assert labels["uniform_loss"] == pytest.approx(np.log(3), rel=1e-4)


@pytest.mark.skipif(not HAS_TF, reason="needs TensorFlow")
def test_ragged_inputs_pass_through():
    import tensorflow as tf

    if BACKEND != "tensorflow":
        pytest.skip("ragged tensors are TensorFlow's")
    rows = tf.ragged.constant([[1, 2], [3]] * 8)
    data = tf.data.Dataset.from_tensor_slices((rows, np.zeros(16))).batch(4)

    class Summed(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, x):
            return self.dense(tf.cast(x.to_tensor(shape=(None, 2)), "float32"))

    model = Summed()
    model.compile("sgd", "mse", run_eagerly=True)
    facts = watched(data, model=model, epochs=1, shuffle=False).facts[1]
    assert facts["inputs"] == []
    assert "ragged" in facts["missing"][0]
    assert facts["targets"][0]["std"] == 0


@pytest.mark.skipif(BACKEND != "tensorflow", reason="texts need TensorFlow")
def test_texts():
    texts = np.array(["a b", "b", "c a", "a"] * 8)
    vectorize = layers.TextVectorization(max_tokens=9, output_mode="multi_hot")
    vectorize.adapt(texts)
    model = keras.Sequential(
        [keras.Input((), dtype="string"), vectorize, layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    import tensorflow as tf

    y = np.arange(32.0)
    data = tf.data.Dataset.from_tensor_slices((texts, y)).batch(4)
    for given in ((data,), (tf.constant(texts), y)):
        facts = watched(*given, model=model, epochs=1, shuffle=False).facts[1]
        assert facts["inputs"][0]["dtype"] == "string"
        assert facts["targets"][0]["mean"] == 15.5
