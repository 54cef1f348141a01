"""Small programs for the doctor, the same on all backends.

Weights come from NumPy and rows stay in order, so that the three backends
differ in rounding alone.
"""

import functools

import keras
import numpy as np
from keras import layers, regularizers

from keras_concepts.callbacks import TrainingDoctor

ROWS, BATCH = 256, 32
CLASSES = "sparse_categorical_crossentropy"
PROGRAMS = {}


@functools.cache
def digits():
    """Handwritten digits, standardized: 1,797 rows of 64 pixels."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = (x - x.mean(axis=0)) / (x.std(axis=0) + 0.1)
    return x.astype("float32"), y.astype("int32")


def rows(count=ROWS):
    x, y = digits()
    return x[:count].copy(), y[:count].copy()


def dense(units, activation=None, **arguments):
    return layers.Dense(units, activation, **arguments)


def model_of(*parts, shape=(64,)):
    """A sequential model whose layers are named by their place."""
    model = keras.Sequential([keras.Input(shape, name="x")], name="m")
    for number, part in enumerate(parts):
        part.name = f"{type(part).__name__.lower()}_{number}"
        model.add(part)
    return model


def mlp(activation="relu", depth=2, units=32, **arguments):
    hidden = [dense(units, activation, **arguments) for _ in range(depth)]
    return model_of(*hidden, dense(10, "softmax"))


def set_weights(model):
    """Glorot's initialization, from NumPy."""
    random = np.random.default_rng(0)
    for variable in model.weights:
        shape = variable.shape
        if len(shape) < 2:
            continue
        receptive = int(np.prod(shape[:-2]))
        limit = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
        variable.assign(random.uniform(-limit, limit, shape))


class Run:
    """What a doctor said of a program.

    Attributes:
        told: Rules and variants as they were found, in their order.
        doctor: Its doctor.
    """

    def __init__(self, doctor, told):
        self.doctor = doctor
        self.told = [(each.rule, each.variant) for each in told]

    @property
    def open(self):
        return {
            (each.rule, each.variant)
            for each in self.doctor.findings
            if each.resolved is None
        }

    @property
    def verdict(self):
        """Rule, variant, owner, since and noticed of each finding."""
        return sorted(
            (f.rule, f.variant, f.owner, f.since, f.noticed)
            for f in self.doctor.findings
        )


def program(function):
    PROGRAMS[function.__name__] = function
    return function


@functools.cache
def run(name):
    """A program under a doctor who measures everything."""
    keras.utils.set_random_seed(0)
    given = {
        "optimizer": keras.optimizers.Adam(3e-3),
        "loss": CLASSES,
        "epochs": 8,
        "metrics": (),
        "data": (),
        "initialized": False,
    }
    given |= PROGRAMS[name]()
    model = given["model"]
    if not given["initialized"]:
        set_weights(model)
    model.compile(
        given["optimizer"], given["loss"], metrics=list(given["metrics"])
    )
    told = []
    doctor = TrainingDoctor(time_budget=None, on_finding=told.append)
    options = {
        "epochs": given["epochs"],
        "batch_size": BATCH,
        "shuffle": False,
        "verbose": 0,
        "callbacks": [doctor],
    }
    model.fit(*(given["data"] or rows()), **options | given.get("fit", {}))
    return Run(doctor, told)


@program
def healthy():
    x, y = digits()
    return {
        "model": mlp(),
        "metrics": ["accuracy"],
        "fit": {"validation_data": (x[ROWS:512], y[ROWS:512])},
    }


@program
def rate_too_high():
    return {"model": mlp(), "optimizer": keras.optimizers.Adam(1.0)}


@program
def rate_too_low():
    return {"model": mlp(), "optimizer": keras.optimizers.SGD(1e-6)}


@program
def deep_sigmoids():
    return {
        "model": mlp("sigmoid", 8, 16),
        "optimizer": keras.optimizers.SGD(1e-2),
    }


@program
def deep_healthy():
    return {"model": mlp("relu", 5, 32), "epochs": 10}


@program
def dead_units():
    bias = keras.initializers.Constant(-20.0)
    return {
        "model": mlp("relu", 3, bias_initializer=bias),
        "optimizer": keras.optimizers.SGD(1e-2),
    }


@program
def saturated_units():
    model = mlp("tanh", 2)
    set_weights(model)
    for layer in model.layers[:-1]:
        layer.kernel.assign(100.0 * layer.kernel)
    return {
        "model": model,
        "optimizer": keras.optimizers.Adam(1e-4),
        "initialized": True,
    }


@program
def tanh_healthy():
    return {"model": mlp("tanh", 2)}


@program
def unscaled_input():
    x, y = rows()
    return {
        "model": mlp("sigmoid", 2),
        "data": (1000.0 * x, y),
        "optimizer": keras.optimizers.SGD(1e-2),
    }


@program
def unscaled_but_rescaled():
    x, y = rows()
    parts = layers.Rescaling(1e-3), dense(32, "relu")
    return {
        "model": model_of(*parts, dense(10, "softmax")),
        "data": (1000.0 * x, y),
    }


@program
def constant_input():
    _, y = rows()
    return {"model": mlp(), "data": (np.ones((ROWS, 64), "float32"), y)}


def of_numbers(units=1, activation=None):
    return model_of(dense(32, "relu"), dense(units, activation))


def numbers():
    x, y = rows()
    return x, ((y - 4.5) / 2.9).astype("float32")[:, None]


@program
def regression():
    return {"model": of_numbers(), "data": numbers(), "loss": "mse"}


@program
def unscaled_target():
    x, y = numbers()
    return {
        "model": of_numbers(),
        "data": (x, 1000.0 * y + 3000.0),
        "loss": "mse",
    }


@program
def labels_that_broadcast():
    return {"model": of_numbers(3), "data": numbers(), "loss": "mse"}


@program
def own_loss_that_broadcasts():
    x, y = numbers()

    class Squares(keras.Loss):
        def call(self, target, prediction):
            return keras.ops.square(target - prediction)

    model = of_numbers()
    set_weights(model)
    model.layers[-1].kernel.assign(0.1 * model.layers[-1].kernel)
    return {
        "model": model,
        "initialized": True,
        "data": (x, y[:, 0]),
        "loss": Squares(),
    }


@program
def own_loss():
    x, y = numbers()
    given = own_loss_that_broadcasts()
    return given | {"data": (x, y)}


@program
def one_target():
    x, y = numbers()
    return {"model": of_numbers(), "data": (x, 0 * y + 3.0), "loss": "mse"}


@program
def probabilities_as_logits():
    loss = keras.losses.MeanSquaredError()
    x, y = numbers()
    return {
        "model": of_numbers(activation="sigmoid"),
        "data": (x, 50.0 + 10.0 * y),
        "loss": loss,
    }


@program
def nan_in_the_data():
    x, y = rows()
    x[100, 3] = np.nan
    return {"model": mlp(), "data": (x, y), "epochs": 3}


@program
def strong_penalty():
    return {"model": mlp(kernel_regularizer=regularizers.L2(3.0))}


@program
def weak_penalty():
    return {"model": mlp(kernel_regularizer=regularizers.L2(1e-4))}


def checkers():
    """Two numbers, and whether their signs differ: no line parts them."""
    x = np.random.default_rng(0).uniform(-1.0, 1.0, (512, 2))
    y = (x[:, 0] * x[:, 1] > 0.0).astype("int32")
    return x.astype("float32"), y


@program
def without_a_nonlinearity():
    parts = dense(32), dense(32), dense(2, "softmax")
    return {"model": model_of(*parts, shape=(2,)), "data": checkers()}


@program
def with_a_nonlinearity():
    parts = dense(64, "relu"), dense(64, "relu"), dense(2, "softmax")
    rate = keras.optimizers.Adam(1e-2)
    model = model_of(*parts, shape=(2,))
    return {"model": model, "data": checkers(), "optimizer": rate}


@program
def heavy_dropout():
    parts = dense(16, "relu"), layers.Dropout(0.97)
    more = dense(16, "relu"), layers.Dropout(0.97)
    return {"model": model_of(*parts, *more, dense(10, "softmax"))}


@program
def light_dropout():
    parts = dense(32, "relu"), layers.Dropout(0.2)
    return {"model": model_of(*parts, dense(10, "softmax"))}


@program
def overfitting():
    """Few rows, and validation rows of which a fifth has a wrong label."""
    x, y = digits()
    wrong = y[ROWS:512].copy()
    wrong[::3] = (wrong[::3] + 1) % 10
    return {
        "model": mlp(units=64),
        "data": (x[:64], y[:64]),
        "optimizer": keras.optimizers.Adam(1e-2),
        "epochs": 25,
        "fit": {"validation_data": (x[ROWS:512], wrong)},
    }


@program
def shuffled_validation():
    x, y = digits()
    random = np.random.default_rng(0)
    return {
        "model": mlp(),
        "epochs": 10,
        "fit": {
            "validation_data": (x[ROWS:512], random.permutation(y[ROWS:512]))
        },
    }


@program
def validation_of_training_rows():
    x, y = rows()
    return {"model": mlp(), "fit": {"validation_data": (x[:128], y[:128])}}


@program
def equal_units():
    model = mlp(kernel_initializer=keras.initializers.Constant(0.1))
    return {"model": model, "initialized": True, "epochs": 4}


@program
def large_head():
    model = mlp()
    set_weights(model)
    head = model.layers[-1]
    head.kernel.assign(100.0 * head.kernel)
    return {
        "model": model,
        "initialized": True,
        "optimizer": keras.optimizers.SGD(1e-4),
    }


@program
def frozen_body():
    return {
        "model": mlp(depth=3, trainable=False),
        "optimizer": keras.optimizers.SGD(1e-3),
    }


@program
def frozen_body_that_serves():
    return {
        "model": mlp(depth=1, units=64, trainable=False),
        "optimizer": keras.optimizers.Adam(1e-2),
        "epochs": 12,
    }


@program
def cut_off():
    """Rounding lets no gradient through."""

    class Rounded(layers.Layer):
        def call(self, x):
            return keras.ops.stop_gradient(keras.ops.round(x))

    return {
        "model": model_of(
            dense(16, "tanh"), Rounded(), dense(2, "tanh"), dense(10, "softmax")
        ),
        "optimizer": keras.optimizers.SGD(1e-3),
    }


@program
def sorted_labels():
    x, y = rows()
    order = np.argsort(y, kind="stable")
    return {
        "model": mlp(),
        "data": (x[order], y[order]),
        "optimizer": keras.optimizers.Adam(3e-2),
    }


@program
def weights_that_favour_the_frequent():
    x, y = rows()
    few = (y == 0).astype("float32")[:, None]
    return {
        "model": of_numbers(activation="sigmoid"),
        "data": (x, few),
        "loss": "binary_crossentropy",
        "fit": {"class_weight": {0: 100.0, 1: 0.01}},
    }


@program
def weights_against_imbalance():
    x, y = rows()
    few = (y == 0).astype("float32")[:, None]
    return {
        "model": of_numbers(activation="sigmoid"),
        "data": (x, few),
        "loss": "binary_crossentropy",
        "fit": {"class_weight": {0: 0.5, 1: 5.0}},
    }


@program
def accuracy_of_a_regression():
    return {
        "model": of_numbers(),
        "data": numbers(),
        "loss": "mse",
        "metrics": [keras.metrics.Accuracy(name="accuracy")],
    }


def normalized(momentum):
    x, y = rows()
    return {
        "model": model_of(
            dense(32),
            layers.BatchNormalization(momentum=momentum),
            layers.Activation("relu"),
            dense(10, "softmax"),
        ),
        "data": (x + 8.0, y),
        "epochs": 6,
    }


@program
def slow_statistics():
    return normalized(0.9999)


@program
def fast_statistics():
    return normalized(0.5)


def words(padding):
    """Four words and padding; the class is that of the first."""
    random = np.random.default_rng(0)
    x = random.integers(1, 5, (ROWS, 4))
    y = (x[:, 0] > 2).astype("float32")[:, None]
    return np.pad(x, ((0, 0), (0, padding))), y


def recurrent(padding, masked, scale=1.0):
    model = model_of(
        layers.Embedding(5, 8, mask_zero=masked),
        layers.SimpleRNN(8),
        dense(1, "sigmoid"),
        shape=(4 + padding,),
    )
    set_weights(model)
    kernel = model.layers[1].cell.recurrent_kernel
    kernel.assign(scale * kernel)
    return {
        "model": model,
        "initialized": True,
        "data": words(padding),
        "loss": "binary_crossentropy",
        "epochs": 5,
    }


@program
def short_memory():
    return recurrent(26, False, 0.01)


@program
def padded_words():
    return recurrent(16, False, 0.5)


@program
def masked_words():
    optimizer = keras.optimizers.Adam(2e-2)
    return recurrent(16, True) | {"optimizer": optimizer}


@program
def upside_down():
    """A loss of somebody's own with the wrong sign."""
    return {
        "model": of_numbers(),
        "data": numbers(),
        "loss": lambda y, p: -keras.ops.mean((y - p) ** 2, axis=-1),
    }


@program
def size_alone():
    """A loss of somebody's own that does not look at the targets."""
    return {
        "model": of_numbers(),
        "data": numbers(),
        "loss": lambda y, p: keras.ops.mean(p**2 + 0.0 * y, axis=-1),
    }


@program
def a_quantile():
    """A loss of somebody's own that wants something else than the mean."""

    def loss(y, p):
        error = y - p
        return keras.ops.mean(
            keras.ops.maximum(0.8 * error, -0.2 * error), axis=-1
        )

    return {"model": of_numbers(), "data": numbers(), "loss": loss}


@program
def cosine_of_numbers():
    return {
        "model": of_numbers(),
        "data": numbers(),
        "loss": "cosine_similarity",
    }


@program
def accuracy_of_entries():
    """One-hot labels that have nothing to do with the images."""
    x, y = rows()
    y = np.random.default_rng(1).permutation(y)
    return entries(x, y) | {"optimizer": keras.optimizers.Adam(3e-4)}


def entries(x, y):
    return {
        "model": model_of(dense(32, "relu"), dense(10, "sigmoid")),
        "data": (x, np.eye(10, dtype="float32")[y]),
        "loss": "binary_crossentropy",
        "metrics": ["binary_accuracy"],
    }


@program
def accuracy_of_learned_entries():
    return entries(*rows())


class Places(layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(shape=shape[1:], name="table")

    def call(self, x):
        return x + self.table


def attention(*, positions):
    """Is the mark in the first half of the steps?"""
    random = np.random.default_rng(0)
    x = random.integers(1, 5, (ROWS, 8))
    place = random.integers(0, 8, ROWS)
    x[np.arange(ROWS), place] = 0
    source = keras.Input((8,), name="x")
    y = layers.Embedding(5, 8, name="embedding")(source)
    if positions:
        y = Places(name="places")(y)
    y = layers.MultiHeadAttention(2, 4, name="attention")(y, y)
    y = layers.GlobalMaxPooling1D(name="pool")(y)
    y = layers.Dense(16, "relu", name="dense")(y)
    y = layers.Dense(1, "sigmoid", name="head")(y)
    model = keras.Model(source, y, name="m")
    return {
        "model": model,
        "data": (x, (place < 4).astype("float32")[:, None]),
        "loss": "binary_crossentropy",
        "optimizer": keras.optimizers.Adam(1e-2),
        "epochs": 12,
    }


@program
def without_positions():
    return attention(positions=False)


@program
def with_positions():
    return attention(positions=True)


def tokens(*, shifted):
    """Each token is the sum of the two before it, modulo 5."""
    steps = [*np.random.default_rng(0).integers(0, 5, (2, ROWS))]
    for _ in range(7):
        steps.append((steps[-1] + steps[-2]) % 5)
    ids = np.stack(steps, axis=1)
    model = model_of(
        layers.Embedding(5, 8),
        layers.SimpleRNN(16, return_sequences=True),
        dense(5, "softmax"),
        shape=(8,),
    )
    return {
        "model": model,
        "data": (ids[:, :-1], ids[:, 1:] if shifted else ids[:, :-1]),
        "loss": "sparse_categorical_crossentropy",
        "optimizer": keras.optimizers.Adam(1e-2),
        "epochs": 6,
    }


@program
def the_same_token():
    return tokens(shifted=False)


@program
def the_next_token():
    return tokens(shifted=True)
