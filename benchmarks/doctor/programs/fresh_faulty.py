"""Faulty programs, most of kinds that an earlier version missed.

Written before any was run with a doctor, to be scored once.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from benchmarks.doctor import changes, data, expected
from benchmarks.doctor.nets import cnn, deep, mlp, rnn, transformer
from benchmarks.doctor.programs.fresh_healthy import (
    Mixing,
    from_logits,
    mixing,
)
from benchmarks.doctor.programs.healthy_own_steps import VariationalAutoencoder
from benchmarks.doctor.recipe import Fit, fit, r_squared
from benchmarks.doctor.registry import faulty, faulty_fit

# Tables of programs read better in their own layout.
# fmt: off

initializers = keras.initializers


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda: keras.optimizers.SGD(rate, momentum)


def normal(spread: float) -> Any:
    return lambda: initializers.RandomNormal(stddev=spread, seed=1)


def constant(value: float) -> Any:
    return lambda: initializers.Constant(value)


# Custom losses that ask for something else.
def negative_absolute(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(ops.abs(y_true - y_pred), axis=-1)


def likelihood(y_true: Any, y_pred: Any) -> Any:
    """Without the minus."""
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"),
                         y_pred.shape[-1])
    return ops.sum(picked * ops.log(y_pred + 1e-7), axis=-1)


def share_of_right(y_true: Any, y_pred: Any) -> Any:
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"),
                         y_pred.shape[-1])
    return ops.sum(picked * y_pred, axis=-1)


def correlation(y_true: Any, y_pred: Any) -> Any:
    """It should rise, but the loss makes it fall."""
    a = y_true - ops.mean(y_true, axis=0)
    b = y_pred - ops.mean(y_pred, axis=0)
    return ops.mean(ops.sum(a * b, 0) / ops.sqrt(
        ops.sum(a**2, 0) * ops.sum(b**2, 0) + 1e-6))


def size_alone(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.abs(y_pred), axis=-1) + 0.0 * ops.mean(y_true)


def with_itself(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((y_pred - 0.9 * y_pred) ** 2, axis=-1) + 0.0 * y_true[:, 0]


def one_sided(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.relu(y_true - y_pred), axis=-1)


def of_rounded(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((y_true - ops.round(y_pred)) ** 2, axis=-1)


def entropy_alone(y_true: Any, y_pred: Any) -> Any:
    """Makes the model sure of anything."""
    return (-ops.sum(y_pred * ops.log(y_pred + 1e-7), axis=-1)
            + 0.0 * ops.cast(ops.reshape(y_true, (-1,)), y_pred.dtype))


def wrong_axis(y_true: Any, y_pred: Any) -> Any:
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"),
                         y_pred.shape[-1])
    return -ops.sum(picked * ops.log_softmax(y_pred * 0.0 + ops.mean(
        y_pred, axis=-1, keepdims=True), axis=0), axis=-1)


def swapped(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
    return -ops.mean((1.0 - y_true) * ops.log(p)
                     + y_true * ops.log(1.0 - p), axis=-1)


for _name, _sane, _loss in (
    ("fresh-cars-negative", "cars-mlp", negative_absolute),
    ("fresh-terrain-negative", "terrain-mlp", negative_absolute),
    ("fresh-wine-likelihood", "wine-mlp", likelihood),
    ("fresh-blobs-share", "blobs-mlp", share_of_right),
    ("fresh-boston-correlation", "boston-mlp", correlation),
    ("fresh-diabetes-size", "diabetes-mlp", size_alone),
    ("fresh-friedman-itself", "friedman-mlp", with_itself),
    ("fresh-terrain-one-sided", "terrain-mlp", one_sided),
    ("fresh-mnist-entropy", "mnist-mlp", entropy_alone),
    ("fresh-friedman-cosine", "friedman-mlp", "cosine_similarity"),
):
    faulty(_name, "wrong loss", expected.WRONG_LOSS, _sane, loss=_loss)
faulty("fresh-cars-rounded", "wrong loss", expected.WRONG_LOSS
       | expected.UNTRAINED, "cars-mlp", loss=of_rounded)
faulty("fresh-digits-axis", "wrong loss", expected.WRONG_LOSS
       | expected.UNTRAINED, "digits-mlp", loss=wrong_axis, head="linear")
faulty("fresh-cancer-swapped", "wrong loss", expected.WRONG_LOSS, "cancer-mlp",
       loss=swapped, change=changes.targets(lambda y: y.reshape(-1, 1)))

# An accuracy of entries.
_answers = {"loss": "binary_crossentropy", "head": "sigmoid",
            "metrics": ("binary_accuracy",)}
for _name, _sane, _epochs in (("fresh-wine-answers-shuffled", "wine-mlp", 25),
                              ("fresh-mnist-answers-shuffled", "mnist-mlp", 12),
                              ("fresh-iris-answers-shuffled", "iris-mlp", 30)):
    faulty(_name, "misleading accuracy", expected.METRIC | expected.SHUFFLED,
           _sane, epochs=_epochs, change=changes.chain(
               changes.one_hot, changes.shuffle_targets), **_answers)

# Rare classes.
for _name, _sane, _arguments in (
    ("fresh-blobs-majority", "blobs-mlp",
     {"change": changes.rare(2, 0.01), "optimizer": sgd(0.01), "epochs": 8}),
    ("fresh-moons-majority", "moons-mlp",
     {"change": changes.rare(1, 0.03), "optimizer": sgd(0.01)}),
    ("fresh-wine-majority", "wine-mlp",
     {"change": changes.rare(1, 0.04), "optimizer": sgd(0.005)}),
    ("fresh-spirals-majority", "spirals-mlp",
     {"change": changes.rare(0, 0.05), "optimizer": sgd(0.02)}),
):
    faulty(_name, "majority class", expected.COLLAPSE, _sane, **_arguments)


# A custom `train_step` that goes wrong.
class Upwards(Mixing):
    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        return super().descend(lambda: -loss_of(), variables, optimizer)


class Nowhere(Mixing):
    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        return loss_of()


class OutOfStep(Mixing):
    """Shuffles the inputs and forgets the labels."""

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]
        return super().train_step((ops.roll(x, 7, axis=0), y))


for _name, _make, _logs, _data in (
    ("fresh-step-upwards", Upwards, "", "digits"),
    ("fresh-step-nowhere", Nowhere, "", "blobs"),
    ("fresh-step-out-of-step", OutOfStep, "objective", "digits"),
    ("fresh-step-out-of-step-silent", OutOfStep, "", "wine"),
):
    faulty_fit(_name, "own step", expected.UNTRAINED | expected.WEAK
               | expected.EXPLODING | expected.SHUFFLED, f"{_data}-mlp",
               mixing(_data, _logs, _make))


def own_autoencoder(name: str, rate: float, weight: float) -> Any:
    def build() -> Fit:
        d = data.to_itself(name)
        model = VariationalAutoencoder(d.x.shape[1], 8, weight)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(rate))
        return fit(model, d.x, None, 12, lambda m: r_squared(
            d.x_test, np.asarray(m.predict(d.x_test, verbose=0), "float64")))

    return build


faulty_fit("fresh-vae-rate", "own step", expected.EXPLODING
           | expected.RATE_TOO_HIGH, "vae-mnist",
           own_autoencoder("mnist", 2.0, 0.01))
faulty_fit("fresh-vae-divergence", "own step", expected.WEAK
           | expected.PENALTY, "vae-mnist",
           own_autoencoder("mnist", 3e-3, 50.0))

# Inputs and targets that do not belong together.
for _name, _sane, _arguments in (
    ("fresh-wine-shuffled", "wine-mlp", {}),
    ("fresh-terrain-shuffled", "terrain-mlp", {}),
    ("fresh-cars-shuffled", "cars-mlp", {}),
    ("fresh-spirals-shuffled", "spirals-mlp", {"validation": "held"}),
    ("fresh-digits-cnn-shuffled", "digits-cnn", {}),
):
    faulty(_name, "out of step", expected.SHUFFLED, _sane,
           change=changes.shuffle_targets, **_arguments)


faulty("fresh-digits-own-shuffled", "out of step", expected.SHUFFLED,
       "digits-mlp", head="linear", loss=from_logits,
       change=changes.shuffle_targets)

# All units alike.
for _name, _sane, _net, _head in (
    ("fresh-wine-zeros", "wine-mlp",
     mlp(24, activation="sigmoid", init="zeros"), "zeros"),
    ("fresh-boston-constant", "boston-mlp", mlp(64, 32, init=constant(0.05)),
     initializers.Constant(0.05)),
    ("fresh-patches-constant", "patches-cnn",
     cnn(8, 8, init=constant(0.05), pool="global"),
     initializers.Constant(0.05)),
    ("fresh-spirals-zeros", "spirals-mlp",
     mlp(48, 48, activation="tanh", init="zeros"), "zeros"),
):
    faulty(_name, "symmetric", expected.SYMMETRIC, _sane, net=_net,
           head_arguments={"kernel_initializer": lambda h=_head: h})

# Saturated from the start.
for _name, _sane, _net in (
    ("fresh-blobs-flat", "blobs-mlp",
     mlp(32, activation="sigmoid", init=normal(60.0))),
    ("fresh-moons-flat", "moons-mlp",
     mlp(32, 32, activation="tanh", init=normal(80.0))),
    ("fresh-boston-flat", "boston-mlp",
     mlp(48, activation="sigmoid", bias=constant(40.0))),
    ("fresh-nouns-lstm-flat", "nouns-gru",
     rnn("LSTM", 16, recurrent_initializer={
         "class_name": "RandomNormal", "config": {"stddev": 200.0}})),
):
    faulty(_name, "saturated", expected.SATURATED | expected.INITIAL, _sane,
           net=_net)

# Attention without positions.
for _name, _sane, _net in (
    ("fresh-backwards-bag", "backwards-transformer",
     transformer(1, 24, each_step=True, positions=False)),
    ("fresh-waves-bag", "waves-gru", transformer(1, 16, positions=False)),
):
    faulty(_name, "no positions", expected.WEAK | expected.POSITIONS, _sane,
           net=_net)


# NaN from custom losses.
def of_logarithms(y_true: Any, y_pred: Any) -> Any:
    return ops.mean((ops.log(y_true + 3.0) - ops.log(y_pred)) ** 2, axis=-1)


def root_of_distance(y_true: Any, y_pred: Any) -> Any:
    return ops.sqrt(ops.sum(ops.relu(ops.abs(y_true - y_pred) - 0.5) ** 2, -1))


for _name, _sane, _loss in (
    ("fresh-cars-logarithms", "cars-mlp", of_logarithms),
    ("fresh-friedman-root", "friedman-mlp", root_of_distance),
):
    faulty(_name, "NaN", expected.NON_FINITE, _sane, loss=_loss)

# Of kinds that were found before.
_others: tuple[tuple[str, str, frozenset[str], str, dict[str, Any]], ...] = (
    ("fresh-terrain-adam-1", "rate too high", expected.RATE_TOO_HIGH,
     "terrain-mlp", {"optimizer": adam(1.0)}),
    ("fresh-blobs-sgd-1e-6", "rate too small", expected.RATE_TOO_SMALL,
     "blobs-mlp", {"optimizer": sgd(1e-6)}),
    ("fresh-wine-logits", "logits as probabilities", expected.HEAD,
     "wine-mlp", {"head": "linear"}),
    ("fresh-terrain-relu", "head cannot reach", expected.HEAD_RANGE,
     "terrain-mlp", {"head": "relu"}),
    ("fresh-cars-millions", "target scale", expected.TARGET_SCALE, "cars-mlp",
     {"change": changes.target_times(1e5, 3e6)}),
    ("fresh-blobs-dropout", "dropout", expected.DROPOUT, "blobs-mlp",
     {"net": mlp(32, dropout=0.99)}),
    ("fresh-wine-l2", "penalty", expected.PENALTY, "wine-mlp",
     {"net": mlp(24, penalty=keras.regularizers.L2(20.0))}),
    ("fresh-cancer-deep", "vanishing", expected.VANISHING, "cancer-mlp",
     {"net": deep(14, 16, "sigmoid")}),
    ("fresh-blobs-sorted-sgd", "sorted", expected.SORTED, "blobs-mlp",
     {"change": changes.sort_by_target, "fit": {"shuffle": False},
      "optimizer": sgd(0.2)}),
)
for _name, _kind, _expected, _sane, _arguments in _others:
    faulty(_name, _kind, _expected, _sane, **_arguments)
