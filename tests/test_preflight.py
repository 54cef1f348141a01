"""Each static fault is found, no healthy model is accused, nothing changes."""

import copy
import random

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc

N = 96
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(N, 12)).astype("float32")
Y = X[:, :3].argmax(axis=1).astype("int32")
IDS = RANDOM.integers(1, 9, (N, 6))
IDS[: N // 2, 3:] = 0
SPARSE = "sparse_categorical_crossentropy"
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"


def mlp(units=3, activation="softmax", loss=SPARSE, hidden="relu", **kernel):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(16, hidden, name="hidden", **kernel),
            layers.Dense(units, activation, name="head"),
        ]
    )
    model.compile("adam", loss)
    return model


def names(findings):
    return {
        (each.rule, each.variant) for each in findings if not each.because_of
    }


def logits(name, **options):
    return getattr(keras.losses, name)(from_logits=True, **options)


def constant(value):
    return keras.initializers.Constant(value)


FAULTS = {
    "logits": (
        lambda: mlp(activation=None),
        (X, Y),
        {("head_loss_mismatch", "not_probabilities")},
    ),
    "binary logits": (
        lambda: mlp(1, None, "binary_crossentropy"),
        (X, Y > 1),
        {("head_loss_mismatch", "not_probabilities")},
    ),
    "one unit": (
        lambda: mlp(1, "softmax", "binary_crossentropy"),
        (X, (Y > 1).astype("float32")),
        {("head_loss_mismatch", "one_unit")},
    ),
    "relu head": (
        lambda: mlp(1, "relu", "mse"),
        (X, X[:, 0]),
        {("head_loss_mismatch", "out_of_reach")},
    ),
    "twice": (
        lambda: twice("softmax"),
        (X, Y),
        {("head_loss_mismatch", "twice")},
    ),
    "sigmoid before the softmax": (
        lambda: twice("sigmoid"),
        (X, Y),
        {("head_loss_mismatch", "bounded_logits")},
    ),
    "a unit too few": (lambda: mlp(2), (X, Y), {("label_mismatch", "range")}),
    "labels of -1 and 1": (
        lambda: mlp(1, "sigmoid", "binary_crossentropy"),
        (X, np.where(Y > 0, 1.0, -1.0)),
        {("label_mismatch", "range")},
    ),
    "class numbers for one-hot rows": (
        lambda: mlp(loss="categorical_crossentropy"),
        (X, Y),
        {("label_mismatch", "form")},
    ),
    "one-hot rows for class numbers": (
        mlp,
        (X, np.eye(3)[Y]),
        {("label_mismatch", "form")},
    ),
    "broadcast": (
        lambda: mlp(3, None, "mse"),
        (X, X[:, :1]),
        {("label_mismatch", "broadcast")},
    ),
    "one class": (mlp, (X, Y * 0), {("degenerate_target", "")}),
    "pixels": (
        mlp,
        (np.abs(X) * 100, Y),
        {("unscaled_input", "large")},
    ),
    "prices": (
        lambda: mlp(1, None, "mse"),
        (X, X[:, 0] * 5e4 + 2e5),
        {("unscaled_target", "large")},
    ),
    "NaN in x": (
        mlp,
        (np.where(X > 2, np.nan, X), Y),
        {("non_finite", "data")},
    ),
    "NaN in y": (
        lambda: mlp(1, None, "mse"),
        (X, np.where(X[:, 0] > 1, np.nan, X[:, 0])),
        {("non_finite", "data")},
    ),
    "logarithm of negative numbers": (
        lambda: stacked(layers.Lambda(ops.log)),
        (X, Y),
        {("non_finite", "activation")},
    ),
    "equal units": (
        lambda: mlp(hidden="tanh", kernel_initializer=constant(0.1)),
        (X, Y),
        set(),  # the head's units differ, and part them with the first step
    ),
    "zeros": (
        lambda: stacked(
            layers.Dense(16, "relu", kernel_initializer="zeros"),
        ),
        (X, Y),
        {("symmetric_init", "")},
    ),
    "dead units": (
        lambda: mlp(bias_initializer=constant(-100.0)),
        (X, Y),
        {("untrained_variable", "batch")},
    ),
    "all frozen": (lambda: frozen(mlp()), (X, Y), {("frozen_body", "")}),
    "an id too many": (
        lambda: recurrent(),
        (IDS + 3, Y),
        {("id_out_of_range", "")},
    ),
    "padding read as data": (
        lambda: recurrent(mask_zero=False),
        (IDS, Y),
        {("lost_mask", "no_mask"), ("lost_mask", "unmasked")},
    ),
}


def twice(activation):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(16, "relu"),
            layers.Dense(3, activation),
            layers.Softmax(),
        ]
    )
    model.compile("adam", SPARSE)
    return model


def stacked(layer):
    model = keras.Sequential(
        [keras.Input((12,)), layer, layers.Dense(3, "softmax")]
    )
    model.compile("adam", SPARSE)
    return model


def frozen(model):
    model.trainable = False
    return model


def recurrent(mask_zero=True):
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=mask_zero),
            layers.GRU(8),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("adam", SPARSE)
    return model


@pytest.mark.parametrize("fault", FAULTS)
def test_static_faults(fault):
    make, data, expected = FAULTS[fault]
    assert names(kc.preflight(make(), *data)) == expected


def test_from_logits_of_probabilities():
    model = mlp(loss=logits("SparseCategoricalCrossentropy"))
    # There Keras itself finds the logits.
    expected = (
        set() if ON_TENSORFLOW else {("head_loss_mismatch", "not_logits")}
    )
    assert names(kc.preflight(model, X, Y)) == expected


def test_equal_units_that_stay_equal():
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(16, "tanh", kernel_initializer=constant(0.1)),
            layers.Dense(3, "softmax", kernel_initializer=constant(0.1)),
        ]
    )
    model.compile("adam", SPARSE)
    assert names(kc.preflight(model, X, Y)) == {("symmetric_init", "")}


def test_sorted_rows():
    order = np.argsort(Y, kind="stable")
    found = kc.preflight(mlp(), X[order], Y[order], validation_split=0.2)
    assert names(found) == {("sorted_labels", "validation")}
    found = kc.preflight(mlp(), X[order], Y[order], shuffle=False)
    assert names(found) == {("sorted_labels", "")}
    assert not kc.preflight(mlp(), X[order], Y[order])


def test_rows_in_both_splits():
    held = X[:30], Y[:30]
    found = kc.preflight(mlp(), X, Y, validation_data=held)
    assert names(found) == {("validation_overlap", "")}
    assert not kc.preflight(mlp(), X[30:], Y[30:], validation_data=held)


def test_an_output_without_a_loss():
    inputs = keras.Input((12,))
    hidden = layers.Dense(16, "relu")(inputs)
    outputs = [
        layers.Dense(3, "softmax", name=name)(hidden) for name in ("a", "b")
    ]
    model = keras.Model(inputs, dict(zip("ab", outputs, strict=True)))
    model.compile("adam", {"a": SPARSE})
    [finding] = kc.preflight(model, X, {"a": Y})
    assert finding.rule == "untrained_variable"
    assert "b" in finding.owner.split("/")


class Experts(layers.Layer):
    """Each row uses one of eight experts, by its first feature."""

    def __init__(self, used=8):
        super().__init__()
        self.used = used
        self.experts = [layers.Dense(2, use_bias=False) for _ in range(8)]

    def build(self, shape):
        for expert in self.experts:
            expert.build(shape)

    def call(self, x):
        chosen = ops.cast(x[:, :1], "int32") % self.used
        parts = [
            ops.cast(chosen == i, x.dtype) * expert(x)
            for i, expert in enumerate(self.experts)
        ]
        return sum(parts)


@pytest.mark.parametrize(("used", "expected"), [(8, 0), (7, 1)])
def test_an_expert_that_few_rows_use(used, expected):
    x = np.random.default_rng(0).normal(size=(400, 3)).astype("float32")
    x[:, 0] = np.arange(400) % 7
    x[1::20, 0] = 7.0  # rows that a batch of 16 of these 400 does not have
    y = x[:, 1] * x[:, 2]
    inputs = keras.Input((3,))
    model = keras.Model(inputs, layers.Dense(1)(Experts(used)(inputs)))
    model.compile("adam", "mse")
    found = kc.preflight(model, x, y)
    unused = [f for f in found if f.rule == "untrained_variable"]
    assert len(unused) == expected


def residual():
    inputs = keras.Input((12,))
    x = layers.Dense(16)(inputs)
    for _ in range(3):
        y = layers.LayerNormalization()(x)
        y = layers.Dense(16, "gelu")(y)
        x = x + layers.Dense(16, kernel_initializer="zeros")(y)
    return keras.Model(inputs, layers.Dense(3, "softmax")(x))


def attention():
    inputs = keras.Input((6,), dtype="int32")
    x = layers.Embedding(9, 8, mask_zero=True)(inputs)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)])
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    return keras.Model(inputs, layers.Dense(3, "softmax")(x))


def convolutional(first=None):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            first or layers.Rescaling(1.0),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ]
    )


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(16, "relu")
        self.drop = layers.Dropout(0.3)
        self.head = layers.Dense(3)

    def call(self, x, training=False):
        x = self.drop(self.hidden(x), training=training)
        return ops.softmax(self.head(x))


class OwnStep(keras.Model):
    """Its loss is not that of `compile`."""

    def __init__(self):
        super().__init__()
        self.head = layers.Dense(3)

    def call(self, x):
        return self.head(x)

    def compute_loss(self, x=None, y=None, y_pred=None, **_):
        return ops.mean(ops.square(y_pred))


IMAGES = RANDOM.random((N, 8, 8, 1))
PIXELS = (IMAGES * 255).astype("uint8")
HEALTHY = {
    "mlp": (mlp, (X, Y), SPARSE),
    "zero head": (
        lambda: stacked(layers.Dense(16, "relu")),
        (X, Y),
        SPARSE,
    ),
    "logits": (
        lambda: mlp(activation=None),
        (X, Y),
        logits("SparseCategoricalCrossentropy"),
    ),
    "one-hot": (mlp, (X, np.eye(3)[Y]), "categorical_crossentropy"),
    "binary": (
        lambda: mlp(1, "sigmoid"),
        (X, (Y > 0)),
        "binary_crossentropy",
    ),
    "multi-label": (
        lambda: mlp(3, "sigmoid"),
        (X, (X[:, :3] > 0).astype("float32")),
        "binary_crossentropy",
    ),
    "hinge": (
        lambda: mlp(1, "tanh"),
        (X, np.where(Y > 0, 1.0, -1.0)),
        "hinge",
    ),
    "regression": (lambda: mlp(1, None), (X, X[:, 0]), "mse"),
    "autoencoder": (lambda: mlp(12, None), (X, X), "mae"),
    "logistic regression": (
        lambda: keras.Sequential(
            [keras.Input((12,)), layers.Dense(1, "sigmoid")]
        ),
        (X, RANDOM.integers(0, 2, N)),
        "binary_crossentropy",
    ),
    "imbalanced": (
        lambda: mlp(1, "sigmoid"),
        (X, np.arange(N) < 3),
        "binary_crossentropy",
    ),
    "residual": (residual, (X, Y), SPARSE),
    "recurrent": (recurrent, (IDS, Y), SPARSE),
    "attention": (attention, (IDS, Y), SPARSE),
    "batch norm": (convolutional, (IMAGES, Y), SPARSE),
    "pixels, rescaled": (
        lambda: convolutional(layers.Rescaling(1 / 255)),
        (PIXELS, Y),
        SPARSE,
    ),
    "pixels, rescaled by an operation": (
        lambda: convolutional(layers.Lambda(lambda x: x / 255)),
        (PIXELS, Y),
        SPARSE,
    ),
    "subclassed": (Subclassed, (X, Y), SPARSE),
    "own loss": (OwnStep, (X, Y), SPARSE),
    "penalty": (
        lambda: mlp(kernel_regularizer=keras.regularizers.L2(0.1)),
        (X, Y),
        SPARSE,
    ),
}


@pytest.mark.parametrize("kind", HEALTHY)
def test_healthy_models(kind):
    make, data, loss = HEALTHY[kind]
    model = make()
    model.compile("adam", loss)
    found = kc.preflight(model, *data)
    assert list(found) == []
    assert found.seconds < 60  # compilation on a busy machine


def test_a_trained_model_knows_its_rows():
    model = mlp()
    model.compile(keras.optimizers.Adam(0.03), SPARSE)
    _ = model.fit(X, Y, epochs=40, batch_size=N, verbose=0)
    assert list(kc.preflight(model, X, Y)) == []


def state_of(model):
    values = [*model.variables, *model.metrics_variables]
    values += model.optimizer.variables
    return [np.array(ops.convert_to_numpy(v)) for v in values]


def seed_all():
    keras.utils.set_random_seed(3)
    # Before Keras 3.14 that leaves a generator which is there already.
    keras.utils.clear_session(free_memory=False)


def draw():
    """A number of each global generator."""
    of_keras = ops.convert_to_numpy(keras.random.normal((1,)))
    return random.random(), np.random.rand(), float(of_keras[0])  # noqa: NPY002, what others use


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("make", [recurrent, convolutional, Subclassed])
def test_nothing_changes(make, trained):
    data = (IDS, Y)
    if make is not recurrent:
        data = (X if make is Subclassed else IMAGES, Y)
    model = make()
    model.compile("adam", SPARSE, metrics=["accuracy"])
    if make is Subclassed and not trained:
        _ = model(X[:2])
    if trained:
        _ = model.fit(*data, verbose=0)
    keras.utils.set_random_seed(3)
    before = state_of(model)
    metrics = [metric.name for metric in model.metrics]
    attributes = set(vars(model))
    given = copy.deepcopy(data)
    seed_all()
    drawn = draw()
    seed_all()
    name = layers.Dense(1, kernel_initializer="zeros").name
    _ = kc.preflight(model, *data)
    assert draw() == drawn
    assert (name, layers.Dense(1).name) == ("dense", "dense_1")
    after = state_of(model)
    assert len(before) == len(after)
    for a, b in zip(before, after, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [metric.name for metric in model.metrics] == metrics
    assert set(vars(model)) == attributes
    for a, b in zip(given, data, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_is_the_same():
    def weights(look):
        keras.utils.set_random_seed(1)
        model = convolutional()
        model.compile("adam", SPARSE)
        if look:
            _ = kc.preflight(model, IMAGES, Y)
        _ = model.fit(IMAGES, Y, epochs=2, verbose=0)
        return model.get_weights()

    for a, b in zip(weights(False), weights(True), strict=True):
        np.testing.assert_array_equal(a, b)


class Batches(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.random = np.random.default_rng(0)

    def __len__(self):
        return 3

    def __getitem__(self, number):
        rows = slice(32 * number, 32 * (number + 1))
        return X[rows], Y[rows]


def test_a_py_dataset():
    assert list(kc.preflight(mlp(), Batches())) == []
    assert names(kc.preflight(mlp(2), Batches())) == {
        ("label_mismatch", "range")
    }


def test_a_list_of_batches():
    batches = [Batches()[i] for i in range(3)]
    assert list(kc.preflight(mlp(), batches)) == []


@pytest.mark.parametrize("seed", [None, 5])
def test_a_tf_dataset_shuffles_on(seed):
    tf = pytest.importorskip("tensorflow")

    def dataset():
        tf.random.set_seed(1)
        data = tf.data.Dataset.from_tensor_slices((X, Y))
        return data.shuffle(N, seed=seed).batch(32)

    def order(data):
        return [y.numpy().tolist() for _ in range(2) for _, y in data]

    data = dataset()
    assert list(kc.preflight(mlp(), data)) == []
    assert order(data) == order(dataset())


def test_a_tf_dataset_that_cannot_be_copied():
    tf = pytest.importorskip("tensorflow")

    def same(x):
        return tf.py_function(lambda x: x, [x], tf.float32)

    data = tf.data.Dataset.from_tensor_slices(X).map(same).shuffle(9).batch(9)
    with pytest.raises(ValueError, match="shuffles in a way that cannot"):
        _ = kc.preflight(mlp(), data)


@pytest.mark.parametrize("own", [False, True])
def test_a_loader_shuffles_on(own):
    torch = pytest.importorskip("torch")

    def loader():
        _ = torch.manual_seed(0)
        generator = torch.Generator().manual_seed(4) if own else None
        data = torch.utils.data.TensorDataset(
            torch.tensor(X), torch.tensor(Y).long()
        )
        return torch.utils.data.DataLoader(
            data, 32, shuffle=True, generator=generator
        )

    def order(data):
        return [y.tolist() for _ in range(2) for _, y in data]

    data = loader()
    model = mlp()
    expected = order(loader())
    data = loader()
    assert list(kc.preflight(model, data)) == []
    assert order(data) == expected


def test_what_can_be_read_once_is_refused():
    batches = iter([Batches()[0]])
    with pytest.raises(TypeError, match="is an iterator or generator"):
        _ = kc.preflight(mlp(), batches)
    assert len(list(batches)) == 1
    with pytest.raises(TypeError, match=r"must be arrays.*Received: int"):
        _ = kc.preflight(mlp(), 3)
    with pytest.raises(ValueError, match="at least one row"):
        _ = kc.preflight(mlp(), X[:0], Y[:0])
    with pytest.raises(ValueError, match="at least one row"):
        _ = kc.preflight(mlp(), [(X[:0], Y[:0])][:0])
    with pytest.raises(ValueError, match="batches contain their own"):
        _ = kc.preflight(mlp(), Batches(), Y)
    with pytest.raises(TypeError, match=r"must be a `keras.Model`"):
        _ = kc.preflight(layers.Dense(1), X, Y)


def test_what_could_not_be_checked_is_said():
    model = keras.Sequential([keras.Input((12,)), layers.Dense(3)])
    report = kc.preflight(model, X, Y)
    assert not report
    assert "the model is not compiled" in report.unchecked[0]
    assert "Not checked: loss" in str(report)
    report = kc.preflight(OwnStep(), X, Y)
    assert not report
    report = kc.preflight(mlp(), X, Y, seconds=0.0)
    assert any("takes too long" in each for each in report.unchecked)


def test_the_report_in_words():
    report = kc.preflight(mlp(activation=None), X, Y)
    text = str(report)
    assert "before training" in text
    assert "from_logits=True" in text
    assert all(kc.rules.Finding.from_json(f.to_json()) == f for f in report)


@pytest.mark.parametrize("as_batches", [False, True])
def test_a_language_model_without_a_shift(as_batches):
    ids = np.random.default_rng(0).integers(0, 20, (64, 7))
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(20, 8),
            layers.Dense(20, "softmax"),
        ]
    )
    model.compile("adam", SPARSE)

    def check(x, y):
        if as_batches:
            return kc.preflight(model, [(x[:32], y[:32]), (x[32:], y[32:])])
        return kc.preflight(model, x, y)

    assert ("copied_labels", "") in names(check(ids[:, :-1], ids[:, :-1]))
    assert ("copied_labels", "") not in names(check(ids[:, :-1], ids[:, 1:]))
