"""Faulty steps: frozen, cut off, broadcast, reversed."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import changes, data, expected
from benchmarks.doctor.data import Data
from benchmarks.doctor.nets import cnn, deep, mlp, rnn
from benchmarks.doctor.programs.healthy_own_steps import (
    Regularized,
    VariationalAutoencoder,
)
from benchmarks.doctor.recipe import EachTime, Fit, fit, gain, r_squared
from benchmarks.doctor.registry import faulty, faulty_fit, variant

# Tables of programs read better in their own layout.
# fmt: off


def freeze(first: int, last: int | None = -1) -> Callable[[Any], None]:
    """Some of the layers, with their random weights."""

    def prepare(model: Any) -> None:
        for layer in model.layers[first:last]:
            layer.trainable = False

    return prepare


# A body that was never trained is frozen.
for _name, _sane, _net, _which in (
    ("digits-frozen-deep", "digits-mlp", deep(6, 16), freeze(0)),
    ("mnist-frozen-deep", "mnist-mlp", deep(6, 12, "tanh"), freeze(0)),
    ("mnist-cnn-frozen-body", "mnist-cnn", cnn(4, 4, 4, pool="global"),
     freeze(0)),
    ("spirals-frozen", "spirals-mlp", deep(3, 10), freeze(0)),
    ("parity-frozen", "parity-4", mlp(12, activation="tanh"), freeze(0)),
    ("nouns-frozen", "nouns-gru", rnn("GRU", 3), freeze(0)),
    ("friedman-frozen", "friedman-mlp", deep(4, 6), freeze(0)),
    ("boston-frozen", "boston-mlp", deep(4, 4), freeze(0)),
    ("wine-frozen", "wine-mlp", deep(6, 3), freeze(0)),
    ("digits-cnn-frozen-body", "digits-cnn", cnn(3, 3, 3, pool="global"),
     freeze(0)),
):
    faulty(_name, "frozen", expected.FROZEN,
           _sane, net=_net, prepare=_which)


# No gradient comes through.
class Cut(layers.Layer):
    """Rounds, converts to numbers and back, or stops the gradient."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way

    def call(self, x: Any) -> Any:
        match self.way:
            case "round":
                return ops.stop_gradient(ops.round(x * 0.5))
            case "sign":
                return ops.sign(ops.stop_gradient(x))
            case "argmax":
                best = ops.cast(ops.argmax(x, axis=-1), "float32")
                return ops.expand_dims(best, -1)
        return ops.stop_gradient(x)


def cut_off(widths: tuple[int, ...], way: str, after: int) -> Any:
    def net(d: Data, head: Any) -> Any:
        source = x = keras.Input(d.x.shape[1:])
        for index, width in enumerate(widths):
            if index == after:
                x = Cut(way)(x)
            x = layers.Dense(width, "relu")(x)
        if after == len(widths):
            x = Cut(way)(x)
        return keras.Model(source, head(x))

    return net


for _name, _sane, _net in (
    ("digits-stopped", "digits-mlp", cut_off((12, 12, 12), "stop", 3)),
    ("digits-argmax", "digits-mlp", cut_off((32, 16), "argmax", 2)),
    ("spirals-rounded", "spirals-mlp", cut_off((12, 8), "round", 2)),
    ("friedman-sign", "friedman-mlp", cut_off((16, 8), "sign", 2)),
    ("parity-stopped", "parity-4", cut_off((8, 8), "stop", 2)),
    ("mnist-argmax", "mnist-mlp", cut_off((32, 12), "argmax", 2)),
):
    faulty(_name, "gradient cut off", expected.UNTRAINED, _sane, net=_net)


# A custom step that does not train what it should.
class ForgetsToApply(Regularized):
    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        return loss_of()


class TrainsTheBias(Regularized):
    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        biases = [v for v in variables if v.name == "bias"][:1]
        return super().descend(loss_of, biases, optimizer)


class ForgetsTheDecoder(VariationalAutoencoder):
    def descend(self, loss_of: Any, variables: Any, optimizer: Any) -> Any:
        return super().descend(
            loss_of, self.encoder.trainable_variables[:1], optimizer
        )


def own_step(make: Any) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.digits()
        model = make()
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(3e-3))
        return fit(model, d.x, d.y, 10,
                   lambda m: gain(d, m.predict(d.x_test, verbose=0)))

    return build


def own_autoencoder(make: Any, rate: float, weight: float) -> Any:
    def build() -> Fit:
        d = data.to_itself("digits")
        model = make(64, 6, weight)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(rate))
        return fit(model, d.x, None, 14, lambda m: r_squared(
            d.x_test, np.asarray(m.predict(d.x_test, verbose=0), "float64")))

    return build


for _name, _sane, _build, _expected in (
    ("own-step-forgets", "digits-consistency", own_step(ForgetsToApply),
     expected.UNTRAINED | expected.WEAK),
    ("own-step-one-bias", "digits-consistency", own_step(TrainsTheBias),
     expected.UNTRAINED | expected.WEAK),
    ("vae-forgets-decoder", "vae-digits",
     own_autoencoder(ForgetsTheDecoder, 3e-3, 0.01),
     expected.UNTRAINED | expected.WEAK),
    ("vae-divergence-too-strong", "vae-digits",
     own_autoencoder(VariationalAutoencoder, 3e-3, 100.0),
     expected.WEAK | expected.PENALTY),
    ("vae-rate-too-high", "vae-digits",
     own_autoencoder(VariationalAutoencoder, 3.0, 0.01),
     expected.EXPLODING | expected.RATE_TOO_HIGH),
):
    faulty_fit(_name, "own step", _expected, _sane, _build)


# (n,) against (n, 1): every target with every prediction.
class SquaredError(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class OwnCrossEntropy(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = ops.cast(y_true, y_pred.dtype)
        y_pred = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
        positive = y_true * ops.log(y_pred)
        negative = (1.0 - y_true) * ops.log(1.0 - y_pred)
        return -ops.mean(positive + negative, axis=-1)


def flat(d: Data) -> Data:
    return changes.targets(lambda y: y.reshape(len(y)))(d)


for _name, _sane in (
    ("boston-broadcast", "boston-mlp"),
    ("friedman-broadcast", "friedman-mlp"),
    ("cars-broadcast", "cars-mlp"),
    ("diabetes-broadcast", "diabetes-mlp"),
    ("waves-broadcast", "waves-gru"),
):
    faulty(_name, "broadcast", expected.BROADCAST, _sane, change=flat,
           loss=EachTime(SquaredError))
for _name, _sane in (
    ("cancer-broadcast", "cancer-mlp"),
    ("patches-broadcast", "patches-cnn"),
    ("even-digits-broadcast", "even-digits-mlp"),
    ("nouns-broadcast", "nouns-gru"),
):
    faulty(_name, "broadcast", expected.BROADCAST, _sane, change=flat,
           loss=EachTime(OwnCrossEntropy))


# Reversed.
def negative_error(y_true: Any, y_pred: Any) -> Any:
    return -ops.mean(ops.square(y_true - y_pred), axis=-1)


def accuracy_as_loss(y_true: Any, y_pred: Any) -> Any:
    """The accuracy should rise, but minimizing it makes it fall."""
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 10)
    return ops.sum(picked * y_pred, axis=-1)


def predictions_alone(y_true: Any, y_pred: Any) -> Any:
    """Forgets the targets."""
    return ops.mean(ops.square(y_pred), axis=-1) + 0.0 * ops.mean(y_true)


for _name, _sane, _loss in (
    ("boston-upside-down", "boston-mlp", negative_error),
    ("friedman-upside-down", "friedman-mlp", negative_error),
    ("digits-accuracy-as-loss", "digits-mlp", accuracy_as_loss),
    ("cars-without-targets", "cars-mlp", predictions_alone),
    ("waves-cosine", "waves-gru", "cosine_similarity"),
):
    faulty(_name, "wrong loss", expected.WRONG_LOSS, _sane, loss=_loss)

# The same losses, with targets of the right shape, are healthy.
variant("boston-own-class", "loss", "boston-mlp", loss=EachTime(SquaredError))
variant("friedman-own-class", "loss", "friedman-mlp",
        loss=EachTime(SquaredError))
