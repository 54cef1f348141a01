"""The doctor changes nothing: weights, optimizer, seeds, logs, to the bit."""

import random

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts.callbacks import TrainingDoctor

pytestmark = pytest.mark.optimized
BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(36, 6)).astype("float32")
LABELS = X[:, :3].argmax(axis=1).astype("int32")
WORDS = np.random.default_rng(1).integers(1, 9, size=(36, 5)).astype("int32")
WORDS[::2, 3:] = 0
SOFTMAX = "sparse_categorical_crossentropy"


def sequential(*middle, shape=(6,), classes=3, inputs=True):
    first = [keras.Input(shape)] if inputs else []
    head = layers.Dense(classes, "softmax", dtype="float32")
    return keras.Sequential([*first, *middle, head])


def compiled(model, loss=SOFTMAX, optimizer=None, **arguments):
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(optimizer, loss, metrics=["accuracy"], **arguments)
    return model


def dense(**arguments):
    return compiled(sequential(layers.Dense(5, "relu")), **arguments)


def noisy():
    return compiled(
        sequential(
            layers.Dense(5, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
        )
    )


def recurrent():
    layer = layers.LSTM(4, dropout=0.2)
    return compiled(sequential(layers.Reshape((3, 2)), layer))


def embedded():
    return compiled(
        sequential(
            layers.Embedding(9, 4, mask_zero=True), layers.GRU(4), shape=(5,)
        )
    )


def unbuilt():
    return compiled(
        sequential(
            layers.Dense(5, "relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            inputs=False,
        )
    )


def penalised():
    return compiled(
        sequential(
            layers.Dense(
                5, "relu", kernel_regularizer="l1", activity_regularizer="l2"
            )
        )
    )


def frozen():
    body = layers.Dense(5, "relu")
    body.trainable = False
    return compiled(sequential(body, layers.BatchNormalization()))


def all_frozen():
    model = dense()
    model.trainable = False
    return compiled(model)


@keras.saving.register_keras_serializable("doctor_tests")
class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = layers.Dense(5, "relu")
        self.noise = layers.GaussianNoise(0.1)
        self.head = layers.Dense(3, "softmax")

    def call(self, x, training=False):
        x = self.noise(self.hidden(x), training=training)
        self.add_loss(1e-3 * ops.mean(ops.square(x)))
        return self.head(x)


class GlobalRandomness(Subclassed):
    """Draws from global generators."""

    def call(self, x, training=False):
        scale = 1.0 + 0.01 * random.random()
        scale += 0.01 * np.random.rand()  # noqa: NPY002, what others use
        noise = keras.random.normal(ops.shape(x))
        return self.head(self.hidden(x * scale + 0.01 * noise))


class Counting(layers.Layer):
    """Has a state that each training call changes."""

    def build(self, shape):
        self.calls = self.add_weight(
            shape=(), initializer="zeros", trainable=False
        )

    def call(self, x, training=False):
        self.calls.assign_add(1.0)
        return x * (1.0 + 0.01 * self.calls)


class OwnLoss(Subclassed):
    def compute_loss(
        self,
        x=None,
        y=None,
        y_pred=None,
        sample_weight=None,
        training=True,
    ):
        labels = ops.one_hot(y, 3)
        return ops.mean(ops.square(labels - y_pred))


class Gan(keras.Model):
    """Two optimizers, no labels, and a `train_step` of its own."""

    def __init__(self):
        super().__init__()
        self.generator = layers.Dense(6)
        self.critic = keras.Sequential(
            [layers.Dense(4, "relu"), layers.Dense(1)]
        )
        self.seeds = keras.random.SeedGenerator(3)
        self.optimizers = [keras.optimizers.Adam(0.01) for _ in range(2)]

    def build(self, shape):
        self.generator.build((None, 2))
        self.critic.build((None, 6))
        parts = self.generator, self.critic
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            optimizer.build(part.trainable_variables)
        self.built = True

    def call(self, x):
        return self.critic(x)

    def loss_of(self, part, x):
        noise = keras.random.normal((12, 2), seed=self.seeds)
        made = self.critic(self.generator(noise))
        if part is self.generator:
            return -ops.mean(made)
        return ops.mean(made) - ops.mean(self.critic(x))

    def train_step(self, data):
        x = data[0] if isinstance(data, tuple | list) else data
        parts = self.generator, self.critic
        for optimizer, part in zip(self.optimizers, parts, strict=True):
            variables = part.trainable_variables
            if BACKEND == "tensorflow":
                import tensorflow as tf

                with tf.GradientTape() as tape:
                    loss = self.loss_of(part, x)
                optimizer.apply(tape.gradient(loss, variables), variables)
            else:
                import torch

                for variable in variables:
                    variable.value.grad = None
                loss = self.loss_of(part, x)
                loss.backward()
                found = [variable.value.grad for variable in variables]
                with torch.no_grad():
                    optimizer.apply(found, variables)
        return {"critic_loss": loss}


def gan():
    model = Gan()
    model.build((None, 6))
    model.compile()
    return model


def two_heads(kind):
    x = keras.Input((6,), name="x")
    hidden = layers.Dense(5, "relu")(x)
    outputs = {
        "class": layers.Dense(3, "softmax", name="class")(hidden),
        "number": layers.Dense(1, name="number")(hidden),
    }
    losses = {"class": SOFTMAX, "number": "mse"}
    if kind is list:
        outputs, losses = [*outputs.values()], [*losses.values()]
    model = keras.Model(x, outputs)
    model.compile("sgd", losses)
    return model


def mixed(optimizer=None):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        return compiled(
            sequential(layers.Dense(5, "relu")), optimizer=optimizer
        )
    finally:
        keras.config.set_dtype_policy(policy)


def scaled():
    return mixed(
        keras.optimizers.LossScaleOptimizer(
            keras.optimizers.Adam(0.01), dynamic_growth_steps=2
        )
    )


def in_policy(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        return compiled(
            keras.Sequential(
                [
                    keras.Input((6,)),
                    layers.Dense(5, "relu"),
                    layers.Dense(3, "softmax"),
                ]
            )
        )
    finally:
        keras.config.set_dtype_policy(policy)


class Rows(keras.utils.PyDataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        part = slice(12 * i, 12 * i + 12)
        return X[part], LABELS[part]


def generator():
    while True:
        for start in range(0, 36, 12):
            yield X[start : start + 12], LABELS[start : start + 12]


def tf_data():
    tf = pytest.importorskip("tensorflow")
    rows = tf.data.Dataset.from_tensor_slices((X, LABELS))
    return rows.shuffle(36, seed=3).batch(12)


def loader():
    torch = pytest.importorskip("torch")
    rows = torch.utils.data.TensorDataset(
        torch.from_numpy(X), torch.from_numpy(LABELS)
    )
    return torch.utils.data.DataLoader(rows, 12, shuffle=True)


BOTH = {"class": LABELS, "number": X[:, :1]}
# Name: how to make the model, and what to give `fit`.
PROGRAMS = {
    "dense": (dense, {}),
    "noise": (noisy, {}),
    "recurrent": (recurrent, {}),
    "embedded": (embedded, {"x": WORDS}),
    "unbuilt": (unbuilt, {}),
    "penalised": (penalised, {}),
    "frozen": (frozen, {}),
    "all_frozen": (all_frozen, {}),
    "subclassed": (lambda: compiled(Subclassed()), {}),
    "global_randomness": (lambda: compiled(GlobalRandomness()), {}),
    "global_randomness_eager": (
        lambda: compiled(GlobalRandomness(), run_eagerly=True),
        {},
    ),
    "counting": (lambda: compiled(sequential(Counting())), {}),
    "own_loss": (lambda: compiled(OwnLoss(), loss=None), {}),
    "gan": (gan, {"y": None}),
    "dict": (lambda: two_heads(dict), {"y": BOTH}),
    "list": (lambda: two_heads(list), {"y": [*BOTH.values()]}),
    "mixed": (mixed, {}),
    "scaled": (scaled, {}),
    "float16": (lambda: in_policy("float16"), {}),
    "bfloat16": (lambda: in_policy("bfloat16"), {}),
    "eager": (lambda: dense(run_eagerly=True), {}),
    "several_steps": (lambda: dense(steps_per_execution=2), {}),
    "in_order": (dense, {"shuffle": False}),
    "split": (dense, {"validation_split": 0.25}),
    "validated": (noisy, {"validation_data": (X, LABELS)}),
    "class_weight": (dense, {"class_weight": {0: 1.0, 1: 3.0, 2: 0.5}}),
    "sample_weight": (dense, {"sample_weight": np.linspace(0, 1, 36)}),
    "py_dataset": (dense, {"x": Rows, "y": None}),
    "generator": (
        dense,
        {"x": generator, "y": None, "steps_per_epoch": 3, "shuffle": False},
    ),
    "tf_data": (dense, {"x": tf_data, "y": None, "shuffle": False}),
    "loader": (dense, {"x": loader, "y": None, "shuffle": False}),
    "int64": (dense, {"x": (10 * X).astype("int64")}),
}
SKIPPED = {
    ("jax", "gan"): "its step has a state",
    ("jax", "global_randomness"): "Keras refuses it",
    ("jax", "global_randomness_eager"): "Keras refuses it",
    ("tensorflow", "global_randomness"): "each trace draws its own constants",
    ("torch", "several_steps"): "it must be 1 with torch",
}


def train(program, doctors):
    make, arguments = PROGRAMS[program]
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = make()
    data = {"x": X, "y": LABELS, **arguments}
    if callable(data["x"]):
        data["x"] = data["x"]()
    if isinstance(data["x"], np.ndarray):
        data["batch_size"] = 12
    history = model.fit(**data, epochs=2, verbose=0, callbacks=doctors)
    states = [*model.variables]
    if model.optimizer is not None:
        states += model.optimizer.variables
    for optimizer in getattr(model, "optimizers", ()):
        states += optimizer.variables
    states = {i: ops.convert_to_numpy(v) for i, v in enumerate(states)}
    drawn = [random.random()]
    drawn += [np.random.rand()]  # noqa: NPY002, what others use
    drawn += ops.convert_to_numpy(keras.random.uniform((2,))).tolist()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        drawn += tf.random.uniform((2,)).numpy().tolist()
    if BACKEND == "torch":
        import torch

        drawn += torch.rand(2).tolist()
    return states, history.history, drawn


@pytest.mark.filterwarnings("ignore:__array__ implementation")
@pytest.mark.filterwarnings("ignore:The model does not have any trainable")
@pytest.mark.parametrize("program", [*PROGRAMS, "thinned"])
def test_watching_changes_nothing(program):
    time_budget = None
    if program == "thinned":  # almost nothing is measured
        program, time_budget = "noise", 1e-9
    if (BACKEND, program) in SKIPPED:
        pytest.skip(SKIPPED[BACKEND, program])
    plain = train(program, [])
    doctor = TrainingDoctor(time_budget=time_budget, sink=lambda text: None)
    watched = train(program, [doctor])
    for i, state in plain[0].items():
        np.testing.assert_array_equal(state, watched[0][i])
    assert {k: repr(v) for k, v in plain[1].items()} == {
        k: repr(v) for k, v in watched[1].items()
    }
    assert plain[2] == watched[2]
    assert len(doctor.recording)
    assert doctor.checked
