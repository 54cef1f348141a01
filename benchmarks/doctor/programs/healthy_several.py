"""Healthy programs with several inputs or outputs, or models of their own."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.doctor import data
from benchmarks.doctor.nets import mlp
from benchmarks.doctor.recipe import Fit, balanced, fit, gain, r_squared
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


# Several inputs and outputs.


def two_towers(activation: str = "relu") -> Callable[[], Fit]:
    """Are two images of the same digit? Shared tower, distance."""

    def build() -> Fit:
        d = data.digits()
        random = np.random.default_rng(20)

        def pairs(x: Any, y: Any, count: int) -> Any:
            left = random.integers(0, len(x), count)
            right = random.integers(0, len(x), count)
            for i in range(0, count, 2):
                right[i] = random.choice(np.flatnonzero(y == y[left[i]]))
            return [x[left], x[right]], (y[left] == y[right]).astype("float32")

        x, y = pairs(d.x, d.y, 2000)
        x_test, y_test = pairs(d.x_test, d.y_test, 500)
        tower = keras.Sequential(
            [keras.Input((64,)), layers.Dense(64, activation), layers.Dense(16)]
        )
        a, b = keras.Input((64,)), keras.Input((64,))
        both = layers.Subtract()([tower(a), tower(b)])
        both = layers.Dense(16, "relu")(ops.square(both))
        model = keras.Model([a, b], layers.Dense(1, "sigmoid")(both))
        model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
        return fit(model, x, y, 12, lambda m: balanced(
            y_test, (m.predict(x_test, verbose=0)[:, 0] > 0.5).astype(int), 2))

    return build


def several_outputs(
    weights: list[float] | None, named: bool
) -> Callable[[], Fit]:
    """The digit, and whether it is even."""

    def build() -> Fit:
        d, e = data.digits(), data.even_digits()
        source = keras.Input((64,))
        body = layers.Dense(64, "relu")(source)
        digit = layers.Dense(10, "softmax", name="digit")(body)
        even = layers.Dense(1, "sigmoid", name="even")(body)
        losses = ["sparse_categorical_crossentropy", "binary_crossentropy"]
        y: Any = [d.y, e.y]
        names = ["digit", "even"]
        if named:
            model = keras.Model(source, {"digit": digit, "even": even})
            y = dict(zip(names, y, strict=True))
            model.compile(
                keras.optimizers.Adam(3e-3),
                dict(zip(names, losses, strict=True)),
                loss_weights=weights and dict(zip(names, weights, strict=True)),
            )
        else:
            model = keras.Model(source, [digit, even])
            model.compile(
                keras.optimizers.Adam(3e-3), losses, loss_weights=weights
            )

        def judge(m: Any) -> float:
            p = m.predict(d.x_test, verbose=0)
            return gain(d, p["digit"] if named else p[0])

        return fit(model, d.x, y, 12, judge)

    return build


def class_and_number() -> Fit:
    """A class and a number from one body."""
    d = data.digits()
    ink, ink_test = d.x.sum(1) / 20.0 - 1.0, d.x_test.sum(1) / 20.0 - 1.0
    source = keras.Input((64,))
    body = layers.Dense(48, "relu")(source)
    model = keras.Model(
        source,
        [layers.Dense(10, "softmax")(body), layers.Dense(1)(body)],
    )
    model.compile(
        keras.optimizers.Adam(3e-3), ["sparse_categorical_crossentropy", "mse"]
    )

    def judge(m: Any) -> float:
        digit, number = m.predict(d.x_test, verbose=0)
        return min(gain(d, digit), r_squared(ink_test, number[:, 0]))

    return fit(model, d.x, [d.y, ink], 12, judge)


def two_inputs() -> Fit:
    """Upper and lower half of an image."""
    d = data.digits()
    a, b = keras.Input((32,), name="a"), keras.Input((32,), name="b")
    x = layers.Concatenate()(
        [layers.Dense(32, "relu")(a), layers.Dense(32, "relu")(b)]
    )
    model = keras.Model([a, b], layers.Dense(10, "softmax")(x))
    model.compile(
        keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy"
    )
    held = [d.x_test[:, :32], d.x_test[:, 32:]]
    return fit(model, {"a": d.x[:, :32], "b": d.x[:, 32:]}, d.y, 10,
               lambda m: gain(d, m.predict(held, verbose=0)))


healthy("towers-relu", "several inputs", two_towers())
healthy("towers-tanh", "several inputs", two_towers("tanh"))
healthy("two-inputs", "several inputs", two_inputs)
healthy("two-outputs", "several outputs", several_outputs(None, False))
healthy("two-outputs-named", "several outputs", several_outputs(None, True))
healthy("two-outputs-weighted", "several outputs",
        several_outputs([1.0, 0.1], False))
healthy("class-and-number", "several outputs", class_and_number)


# A subclassed model, and sample weights.


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.one = layers.Dense(64, "relu")
        self.two = layers.Dense(32, "relu")
        self.out = layers.Dense(10, "softmax")

    def call(self, x: Any) -> Any:
        return self.out(self.two(self.one(x)))


variant("digits-subclassed", "own model", "digits-mlp",
        net=lambda d, head: Subclassed())
variant("digits-sample-weights", "own model", "digits-mlp",
        fit={"sample_weight": lambda: 0.5 + np.random.default_rng(1).random(
            len(data.digits().x))})


class Centre(layers.Layer):
    """Adds a loss that keeps codes near 0."""

    def call(self, x: Any) -> Any:
        self.add_loss(1e-3 * ops.mean(x**2))
        return x


def with_added_loss(d: Any, head: Any) -> Any:
    source = keras.Input(d.x.shape[1:])
    x = Centre()(layers.Dense(64, "relu")(source))
    return keras.Model(source, head(x))


variant("digits-added-loss", "own model", "digits-mlp", net=with_added_loss)
variant("cancer-added-loss", "own model", "cancer-mlp", net=with_added_loss)
variant("digits-jit-off", "compiled", "digits-mlp",
        compile={"jit_compile": lambda: False})
variant("digits-eager", "compiled", "digits-mlp", epochs=8,
        compile={"run_eagerly": lambda: True})
variant("digits-nested", "own model", "digits-mlp", net=lambda d, head:
        keras.Sequential([keras.Input((64,)),
                          mlp(48)(d, layers.Dense(32, "relu")), head]))
