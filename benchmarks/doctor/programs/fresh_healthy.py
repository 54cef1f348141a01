"""Healthy programs of kinds that rules on agreement could flag wrongly.

Written before any was run with a doctor, to be scored once.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import changes, data
from benchmarks.doctor.data import Array, Data
from benchmarks.doctor.nets import autoencoder, cnn, mlp, rnn, transformer
from benchmarks.doctor.programs.healthy_own_steps import (
    WithOwnStep,
    gan,
    vae,
)
from benchmarks.doctor.recipe import (
    EachTime,
    Fit,
    Recipe,
    balanced,
    fit,
    gain,
    r_squared,
)
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# Custom losses for numbers.
def pinball(share: float) -> Any:
    def loss(y_true: Any, y_pred: Any) -> Any:
        error = y_true - y_pred
        return ops.mean(ops.maximum(share * error, (share - 1.0) * error), -1)

    return loss


def expectile(y_true: Any, y_pred: Any) -> Any:
    error = y_true - y_pred
    return ops.mean(ops.where(error > 0, 0.7, 0.3) * error**2, axis=-1)


def charbonnier(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.sqrt((y_true - y_pred) ** 2 + 1e-3), axis=-1)


def one_minus_correlation(y_true: Any, y_pred: Any) -> Any:
    a = y_true - ops.mean(y_true, axis=0)
    b = y_pred - ops.mean(y_pred, axis=0)
    norms = ops.sqrt(ops.sum(a**2, axis=0) * ops.sum(b**2, axis=0) + 1e-6)
    return 1.0 - ops.mean(ops.sum(a * b, axis=0) / norms)


class SquaresOfOwn(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean((y_true - y_pred) ** 2, axis=-1)


class Cauchy(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return ops.mean(ops.log1p((y_true - y_pred) ** 2), axis=-1)


variant("fresh-boston-median", "own loss", "boston-mlp", loss=pinball(0.5))
variant("fresh-friedman-quantile-75", "own loss", "friedman-mlp",
        loss=pinball(0.75))
variant("fresh-cars-quantile-25", "own loss", "cars-mlp", loss=pinball(0.25))
variant("fresh-friedman-expectile", "own loss", "friedman-mlp", loss=expectile)
variant("fresh-cars-charbonnier", "own loss", "cars-mlp", loss=charbonnier)
variant("fresh-terrain-cauchy", "own loss", "terrain-mlp",
        loss=EachTime(Cauchy))
variant("fresh-waves-own-squares", "own loss", "waves-gru", loss=charbonnier)


def learned_correlation(m: Any, d: Data) -> float:
    p = np.asarray(m.predict(d.x_test, verbose=0), "float64").ravel()
    return float(np.corrcoef(p, np.asarray(d.y_test).ravel())[0, 1] ** 2)


def by_correlation(make: Callable[[], Data], loss: Any, epochs: int = 25,
                   change: Callable[[Array], Array] = lambda y: y) -> Any:
    """The loss wants another scale, so only the ranks show what was learned."""

    def build() -> Fit:
        d = make()
        d = dataclasses.replace(d, y=change(d.y))
        model = mlp(48, 24)(d, layers.Dense(1))
        model.compile(keras.optimizers.Adam(3e-3), loss)
        return fit(model, d.x, d.y, epochs, lambda m: learned_correlation(m, d))

    return build


def of_scaled_targets(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(((y_true - 2e4) / 9e3 - y_pred) ** 2, axis=-1)


def poisson_of_logarithm(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.exp(y_pred) - y_true * y_pred, axis=-1)


def pairs_in_order(y_true: Any, y_pred: Any) -> Any:
    """RankNet: in each pair, the higher one should be predicted higher."""
    above = ops.cast(y_true > ops.transpose(y_true), y_pred.dtype)
    apart = y_pred - ops.transpose(y_pred)
    return ops.mean(above * ops.softplus(-apart))


def cox(y_true: Any, y_pred: Any) -> Any:
    """Partial likelihood: subjects that die early have a high risk."""
    at_risk = ops.cast(ops.transpose(y_true) >= y_true, y_pred.dtype)
    risks = ops.exp(ops.clip(ops.transpose(y_pred), -10.0, 10.0))
    return ops.mean(ops.log(ops.sum(at_risk * risks, -1) + 1e-6)
                    - ops.clip(y_pred[:, 0], -10.0, 10.0))


healthy("fresh-boston-scaled-in-loss", "own loss", by_correlation(
    data.boston, of_scaled_targets, change=lambda y: y * 9e3 + 2e4))
healthy("fresh-friedman-counts", "own loss", by_correlation(
    data.friedman, poisson_of_logarithm,
    change=lambda y: np.round(np.exp(0.5 * y + 1.0))))
healthy("fresh-boston-ranks", "own loss",
        by_correlation(data.boston, pairs_in_order))
healthy("fresh-cars-survival", "own loss", by_correlation(
    data.cars, cox, change=lambda y: np.exp(y).astype("float32")))
healthy("fresh-friedman-correlation", "own loss",
        by_correlation(data.friedman, one_minus_correlation))


# Little can be learned.
def faint(noise: float) -> Callable[[], Data]:
    return lambda: data.friedman(2000, noise)


for _name, _loss in (("own", EachTime(SquaresOfOwn)), ("mse", "mse"),
                     ("mae", "mae"), ("own-median", pinball(0.5))):
    healthy(f"fresh-faint-{_name}", "faint", Recipe(
        faint(8.0), mlp(8), epochs=12, loss=_loss, optimizer=adam(2e-3)))


# Several numbers for one target.
def several_units(units: int, loss: Any, column: int) -> Callable[[], Fit]:
    def build() -> Fit:
        d = data.friedman()
        model = mlp(64, 32)(d, layers.Dense(units))
        model.compile(keras.optimizers.Adam(3e-3), loss)
        return fit(model, d.x, d.y, 20, lambda m: r_squared(
            d.y_test, np.asarray(m.predict(d.x_test, verbose=0),
                                 "float64")[:, column:column + 1]))

    return build


def three_quantiles(y_true: Any, y_pred: Any) -> Any:
    error = y_true - y_pred
    shares = ops.convert_to_tensor([0.1, 0.5, 0.9])
    return ops.mean(ops.maximum(shares * error, (shares - 1.0) * error), -1)


def normal(y_true: Any, y_pred: Any) -> Any:
    mean, log_variance = y_pred[:, :1], ops.clip(y_pred[:, 1:], -6.0, 6.0)
    return ops.mean(log_variance + (y_true - mean) ** 2
                    / ops.exp(log_variance), axis=-1)


healthy("fresh-three-quantiles", "distribution",
        several_units(3, three_quantiles, 1))
healthy("fresh-normal", "distribution", several_units(2, normal, 0))


# Custom losses for classes.
def from_logits(y_true: Any, y_pred: Any) -> Any:
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"),
                         y_pred.shape[-1])
    return -ops.sum(picked * ops.log_softmax(y_pred), axis=-1)


def generalised(y_true: Any, y_pred: Any) -> Any:
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"),
                         y_pred.shape[-1])
    return (1.0 - ops.sum(picked * y_pred, axis=-1) ** 0.7) / 0.7


def own_focal(y_true: Any, y_pred: Any) -> Any:
    p = ops.clip(y_pred, 1e-6, 1.0 - 1e-6)
    right = ops.where(y_true > 0.5, p, 1.0 - p)
    return -ops.mean((1.0 - right) ** 2 * ops.log(right), axis=-1)


def own_binary(y_true: Any, y_pred: Any) -> Any:
    return ops.mean(ops.softplus(y_pred) - y_true * y_pred, axis=-1)


variant("fresh-digits-own-logits", "own loss", "digits-mlp", head="linear",
        loss=from_logits)
variant("fresh-wine-generalised", "own loss", "wine-mlp", loss=generalised,
        epochs=40)
variant("fresh-mnist-own-logits", "own loss", "mnist-cnn", head="linear",
        loss=from_logits)
variant("fresh-cancer-own-focal", "own loss", "cancer-mlp", loss=own_focal,
        change=changes.targets(lambda y: y.reshape(-1, 1)))
variant("fresh-columns-own", "multi-label", "digit-columns-mlp",
        loss=own_binary, head="linear", threshold=0.0)


def rare_columns() -> Data:
    """One label in fifty samples, and one in twenty."""
    d = data.digit_columns()
    keep = np.random.default_rng(30).random(len(d.y)) < 0.25
    kept = (d.y[:, 0] < 0.5) | keep
    return dataclasses.replace(d, x=d.x[kept], y=d.y[kept])


healthy("fresh-rare-columns", "multi-label", Recipe(
    rare_columns, mlp(64, 32), epochs=20))
healthy("fresh-rare-columns-own", "multi-label", Recipe(
    rare_columns, mlp(64, 32), epochs=20, loss=own_binary, head="linear",
    threshold=0.0))

# Rare classes that are learned.
healthy("fresh-rare-3", "imbalanced", Recipe(
    lambda: data.imbalanced(0.04, 2.0), mlp(32), epochs=20))
healthy("fresh-rare-own-focal", "imbalanced", Recipe(
    lambda: data.imbalanced(0.04, 2.0), mlp(32), epochs=25, loss=own_focal,
    change=changes.targets(lambda y: y.reshape(-1, 1))))
healthy("fresh-rare-softmax", "imbalanced", Recipe(
    lambda: data.imbalanced(0.05, 2.0), mlp(32, 16), epochs=20,
    change=changes.two_columns))


# Ordered classes.
def fifths() -> Data:
    d = data.boston()
    edges = np.quantile(d.y, [0.2, 0.4, 0.6, 0.8])
    return dataclasses.replace(
        d, y=np.searchsorted(edges, d.y[:, 0]).astype("int32"),
        y_test=np.searchsorted(edges, d.y_test[:, 0]).astype("int32"),
        task="classes", units=5)


def steps_up(y_true: Any, y_pred: Any) -> Any:
    """CORAL: is the class above the first, the second, ...?"""
    levels = ops.cast(
        ops.reshape(y_true, (-1, 1)) > ops.arange(4, dtype=y_true.dtype),
        y_pred.dtype)
    return ops.mean(ops.softplus(y_pred) - levels * y_pred, axis=-1)


def earth_movers(y_true: Any, y_pred: Any) -> Any:
    picked = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), 5)
    apart = ops.cumsum(picked, axis=-1) - ops.cumsum(y_pred, axis=-1)
    return ops.mean(apart**2, axis=-1)


def ordinal() -> Fit:
    d = fifths()
    model = mlp(48, 24)(d, layers.Dense(4))
    model.compile(keras.optimizers.Adam(3e-3), steps_up)
    return fit(model, d.x, d.y, 30, lambda m: balanced(
        d.y_test, (m.predict(d.x_test, verbose=0) > 0).sum(-1), 5))


healthy("fresh-ordinal-levels", "ordinal", ordinal)
healthy("fresh-ordinal-movers", "ordinal", Recipe(
    fifths, mlp(48, 24), epochs=30, loss=earth_movers))


# Positions instead of predictions.
def all_triplets(y_true: Any, y_pred: Any) -> Any:
    y = ops.reshape(y_true, (-1, 1))
    same = ops.cast(ops.equal(y, ops.transpose(y)), y_pred.dtype)
    squares = ops.sum(y_pred**2, -1, keepdims=True)
    apart = squares + ops.transpose(squares) - 2.0 * ops.matmul(
        y_pred, ops.transpose(y_pred))
    farthest = ops.max(apart * same, axis=-1)
    nearest = ops.min(apart + 1e3 * same, axis=-1)
    return ops.mean(ops.softplus(farthest - nearest))


def supervised_contrast(y_true: Any, y_pred: Any) -> Any:
    y = ops.reshape(y_true, (-1, 1))
    z = y_pred / (ops.norm(y_pred, axis=-1, keepdims=True) + 1e-6)
    alike = ops.matmul(z, ops.transpose(z)) / 0.2
    own = ops.eye(ops.shape(z)[0])
    same = ops.cast(ops.equal(y, ops.transpose(y)), z.dtype) * (1.0 - own)
    others = ops.log(ops.sum(ops.exp(alike) * (1.0 - own), -1, keepdims=True))
    return -ops.mean(ops.sum(same * (alike - others), -1)
                     / (ops.sum(same, -1) + 1e-6))


def places(width: int, loss: Any, name: str = "digits") -> Callable[[], Fit]:
    def build() -> Fit:
        d = getattr(data, name)()
        model = mlp(64)(d, layers.Dense(width))
        model.compile(keras.optimizers.Adam(3e-3), loss)

        def judge(m: Any) -> float:
            a, b = (m.predict(x, verbose=0) for x in (d.x, d.x_test))
            means = np.stack([a[d.y == c].mean(0) for c in range(d.units)])
            near = ((b[:, None] - means) ** 2).sum(-1).argmin(-1)
            return balanced(d.y_test, near, d.units)

        return fit(model, d.x, d.y, 14, judge, batch_size=64)

    return build


healthy("fresh-triplets", "embedding", places(16, all_triplets))
healthy("fresh-triplets-of-classes", "embedding", places(10, all_triplets))
healthy("fresh-contrast", "embedding", places(8, supervised_contrast))
healthy("fresh-contrast-of-classes", "embedding",
        places(5, supervised_contrast, "blobs"))


def contrastive(y_true: Any, y_pred: Any) -> Any:
    """Near if the label is 1."""
    far = ops.relu(1.0 - y_pred) ** 2
    return ops.mean(y_true * y_pred**2 + (1.0 - y_true) * far, axis=-1)


def siamese() -> Fit:
    d = data.digits()
    random = np.random.default_rng(31)

    def pairs(x: Any, y: Any, count: int) -> Any:
        left, right = random.integers(0, len(x), (2, count))
        for i in range(0, count, 2):
            right[i] = random.choice(np.flatnonzero(y == y[left[i]]))
        same = (y[left] == y[right]).astype("float32")
        return np.stack([x[left], x[right]], axis=1), same[:, None]

    x, y = pairs(d.x, d.y, 2000)
    x_test, y_test = pairs(d.x_test, d.y_test, 600)
    source = keras.Input((2, 64))
    place = layers.Dense(16)(layers.Dense(64, "relu")(source))
    apart = ops.sqrt(ops.sum((place[:, 0] - place[:, 1]) ** 2, -1,
                             keepdims=True) + 1e-6)
    model = keras.Model(source, apart)
    model.compile(keras.optimizers.Adam(3e-3), contrastive)

    def judge(m: Any) -> float:
        near = m.predict(x_test, verbose=0)[:, 0] < 0.5
        return balanced(y_test[:, 0], near.astype(int), 2)

    return fit(model, x, y, 14, judge)


healthy("fresh-siamese", "embedding", siamese)


def of_vectors() -> Fit:
    """Directions of vectors, as of word embeddings."""
    d = data.digits()
    random = np.random.default_rng(32)
    words = random.normal(0.0, 1.0, (10, 12)).astype("float32")
    model = mlp(64)(d, layers.Dense(12))
    model.compile(keras.optimizers.Adam(3e-3), "cosine_similarity")

    def judge(m: Any) -> float:
        p = m.predict(d.x_test, verbose=0) @ words.T
        p = p / np.linalg.norm(words, axis=1)
        return balanced(d.y_test, p.argmax(-1), 10)

    return fit(model, d.x, words[d.y], 12, judge)


healthy("fresh-directions", "embedding", of_vectors)


def loss_is_the_output() -> Fit:
    """Labels are an input, and the model gives its own loss."""
    d = data.friedman()
    x, y = keras.Input((10,)), keras.Input((1,))
    p = layers.Dense(1)(layers.Dense(64, "relu")(x))
    model = keras.Model([x, y], ops.square(p - y))
    inner = keras.Model(x, p)
    model.compile(keras.optimizers.Adam(3e-3),
                  lambda y_true, y_pred: ops.mean(y_pred, axis=-1))
    return fit(model, [d.x, d.y], d.y * 0.0, 20, lambda m: r_squared(
        d.y_test, np.asarray(inner.predict(d.x_test, verbose=0), "float64")))


healthy("fresh-loss-is-the-output", "own model", loss_is_the_output)


# A custom `train_step`, which logs whatever it likes.
class Mixing(WithOwnStep):
    """Mixup, written out; `logs` names what is reported."""

    def __init__(self, units: int, logs: str) -> None:
        super().__init__()
        self.body = keras.Sequential(
            [layers.Dense(64, "relu"), layers.Dense(units)])
        self.logs = logs
        self.units = units

    def call(self, x: Any) -> Any:
        return self.body(x)

    def train_step(self, *given: Any) -> Any:
        x, y = given[0][:2]

        def loss_of() -> Any:
            z = 0.8 * x + 0.2 * ops.flip(x, axis=0)
            picked = ops.one_hot(ops.cast(y, "int32"), self.units)
            picked = 0.8 * picked + 0.2 * ops.flip(picked, axis=0)
            return -ops.mean(ops.sum(
                picked * ops.log_softmax(self.body(z)), axis=-1))

        loss = self.descend(loss_of, self.trainable_variables, self.optimizer)
        return {self.logs: loss} if self.logs else {}


def mixing(name: str, logs: str, make: Any = Mixing) -> Callable[[], Fit]:
    def build() -> Fit:
        d = getattr(data, name)()
        model = make(d.units, logs)
        model(d.x[:2])
        model.compile(keras.optimizers.Adam(3e-3))
        return fit(model, d.x, d.y, 14,
                   lambda m: gain(d, m.predict(d.x_test, verbose=0)))

    return build


healthy("fresh-mixing", "own step", mixing("digits", "objective"))
healthy("fresh-mixing-silent", "own step", mixing("wine", ""))
healthy("fresh-mixing-blobs", "own step", mixing("blobs", "loss"))
healthy("fresh-gan-moons", "own step", gan("clusters", 20))
healthy("fresh-vae-mnist", "own step", vae("mnist", 20, 10))

# Without positions, where order does not matter; an accuracy of entries.
variant("fresh-topics-set", "attention", "topics-bag",
        net=transformer(1, 24, positions=False), epochs=10)
variant("fresh-digits-answers", "metric", "digits-one-hot",
        loss="binary_crossentropy", head="sigmoid",
        metrics=("binary_accuracy",))
variant("fresh-wine-answers", "metric", "wine-mlp", loss="binary_crossentropy",
        head="sigmoid", metrics=("binary_accuracy",), change=changes.one_hot,
        epochs=35)

# Saturated units that learn.
variant("fresh-digits-hard-tanh", "saturated but fine", "digits-mlp",
        net=mlp(96, 48, activation="hard_tanh"))
variant("fresh-cancer-steep", "saturated but fine", "cancer-mlp",
        net=mlp(64, activation="tanh",
                init=lambda: keras.initializers.RandomNormal(
                    stddev=0.6, seed=1)))
variant("fresh-nouns-lstm", "recurrent", "nouns-gru", net=rnn("LSTM", 24),
        epochs=10)
variant("fresh-patches-cnn-tanh", "cnn", "patches-cnn",
        net=cnn(6, 12, activation="tanh"))
healthy("fresh-autoencoder-own", "autoencoder", Recipe(
    lambda: data.to_itself("mnist"), autoencoder(48, 16), epochs=12,
    loss=charbonnier))
