"""Faulty starts: symmetric, huge, tiny; vanishing, dead, saturated."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import expected
from benchmarks.doctor.nets import cnn, deep, mlp, residual, rnn
from benchmarks.doctor.registry import faulty

# Tables of programs read better in their own layout.
# fmt: off

initializers = keras.initializers


def normal(spread: float) -> Any:
    return lambda: initializers.RandomNormal(stddev=spread)


def constant(value: float) -> Any:
    return lambda: initializers.Constant(value)


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda: keras.optimizers.SGD(rate, momentum)


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# All units alike.
for _name, _sane, _net in (
    ("digits-zeros", "digits-mlp", mlp(64, 64, init="zeros")),
    ("digits-ones", "digits-mlp", mlp(64, 64, init=constant(0.05))),
    ("mnist-zeros", "mnist-mlp", mlp(64, init="zeros")),
    ("mnist-cnn-zeros", "mnist-cnn", cnn(8, 16, init="zeros")),
    ("moons-constant", "moons-mlp", mlp(32, 32, init=constant(0.1))),
    ("spirals-constant", "spirals-mlp",
     mlp(48, 48, activation="tanh", init=constant(0.1))),
    ("friedman-constant", "friedman-mlp", mlp(64, 32, init=constant(0.1))),
    ("digits-cnn-constant", "digits-cnn", cnn(8, 16, init=constant(0.1),
     pool="global")),
    ("parity-constant", "parity-4",
     mlp(64, activation="tanh", init=constant(0.1))),
    ("digits-sigmoid-zeros", "digits-sigmoid",
     mlp(48, 32, activation="sigmoid", init="zeros")),
):
    _head = {"kernel_initializer": "zeros"} if "zeros" in _name else {
        "kernel_initializer": constant(0.1)}
    faulty(_name, "symmetric", expected.SYMMETRIC, _sane, net=_net,
           head_arguments=_head)

# Huge.
for _name, _sane, _net, _arguments in (
    ("digits-huge", "digits-mlp", mlp(64, 64, init=normal(10.0)), {}),
    ("mnist-cnn-huge", "mnist-cnn", cnn(8, 16, init=normal(5.0)), {}),
    ("cancer-huge", "cancer-mlp", mlp(32, 16, init=normal(20.0)), {}),
    ("boston-huge", "boston-mlp", mlp(64, 32, init=normal(5.0)), {}),
    ("friedman-huge", "friedman-mlp", deep(4, 32, init=normal(3.0)), {}),
    ("digits-uniform", "digits-mlp", mlp(64, 64, 64,
     init=lambda: initializers.RandomUniform(-5.0, 5.0)), {}),
    ("digits-head-huge", "digits-mlp", mlp(64, 64),
     {"head_arguments": {"kernel_initializer": normal(100.0)}}),
):
    faulty(_name, "huge initialization", expected.INITIAL, _sane, net=_net,
           **_arguments)

# Too little reaches the first layers.
for _name, _sane, _net, _arguments in (
    ("digits-ten-sigmoids", "digits-mlp", deep(10, 32, "sigmoid"), {}),
    ("digits-ten-sigmoids-sgd", "digits-mlp", deep(10, 32, "sigmoid"),
     {"optimizer": sgd(0.1)}),
    ("mnist-eight-sigmoids", "mnist-mlp", deep(8, 48, "sigmoid"), {}),
    ("cancer-ten-sigmoids", "cancer-mlp", deep(10, 16, "sigmoid"),
     {"optimizer": sgd(0.1)}),
    ("digits-deep-small-tanh", "digits-mlp",
     deep(10, 32, "tanh", init=normal(0.02)), {"optimizer": sgd(0.1)}),
    ("digits-deep-small-relu", "digits-mlp", deep(8, 32, init=normal(0.01)),
     {"optimizer": sgd(0.1)}),
    ("mnist-deep-small-relu", "mnist-mlp", deep(10, 48, init=normal(0.02)),
     {}),
    ("friedman-ten-sigmoids", "friedman-mlp", deep(10, 32, "sigmoid"), {}),
    ("mnist-cnn-sigmoids", "mnist-cnn",
     cnn(8, 8, 8, activation="sigmoid", init=normal(0.05)),
     {"optimizer": sgd(0.05)}),
    ("spirals-twelve-sigmoids", "spirals-mlp", deep(12, 32, "sigmoid"), {}),
    ("boston-deep-sigmoid", "boston-mlp", deep(8, 32, "sigmoid"),
     {"optimizer": sgd(0.02)}),
    ("moons-deep-small", "moons-mlp", deep(8, 24, init=normal(0.02)),
     {"optimizer": sgd(0.2)}),
):
    faulty(_name, "vanishing", expected.VANISHING, _sane, net=_net,
           **_arguments)

# Dead from the start, or soon after.
for _name, _sane, _net, _arguments in (
    ("digits-dead-bias", "digits-mlp", mlp(64, 64, bias=constant(-10.0)), {}),
    ("mnist-dead-bias", "mnist-mlp", mlp(64, 32, bias=constant(-20.0)), {}),
    ("cancer-dead-bias", "cancer-mlp", mlp(32, 16, bias=constant(-30.0)), {}),
    ("digits-dead-by-rate", "digits-mlp", mlp(64, 64, 64),
     {"optimizer": adam(2.0)}),
    ("mnist-cnn-dead-by-rate", "mnist-cnn", cnn(8, 16, dense=32),
     {"optimizer": adam(0.5)}),
    ("friedman-dead-bias", "friedman-mlp", mlp(64, 32, bias=constant(-15.0)),
     {}),
    ("digits-negative-weights", "digits-mlp", mlp(64, 64,
     init=lambda: initializers.RandomUniform(-0.3, 0.0)), {}),
    ("mnist-cnn-negative-weights", "mnist-cnn", cnn(8, 16,
     init=lambda: initializers.RandomUniform(-0.2, 0.0)), {}),
    ("digits-cnn-dead-bias", "digits-cnn", lambda d, head: keras.Sequential([
        keras.Input((8, 8, 1)),
        layers.Conv2D(8, 3, activation="relu",
                      bias_initializer=initializers.Constant(-10.0)),
        layers.Flatten(), head]), {}),
):
    _also = expected.RATE_TOO_HIGH if "rate" in _name else frozenset()
    faulty(_name, "dead units", expected.DEAD | _also, _sane, net=_net,
           **_arguments)

# Saturated.
for _name, _sane, _net, _arguments in (
    ("digits-sigmoid-huge", "digits-sigmoid",
     mlp(48, 32, activation="sigmoid", init=normal(10.0)), {}),
    ("mnist-tanh-huge", "mnist-tanh",
     mlp(48, 48, activation="tanh", init=normal(3.0)), {}),
    ("friedman-sigmoid-bias", "friedman-sigmoid",
     mlp(48, activation="sigmoid", bias=constant(30.0)), {}),
    ("wine-tanh-bias", "wine-tanh",
     mlp(16, 16, activation="tanh", bias=constant(12.0)), {}),
    ("waves-gru-huge", "waves-gru",
     rnn("GRU", 16, kernel_initializer={
         "class_name": "RandomNormal", "config": {"stddev": 500.0}}),
     {}),
    ("digits-hard-sigmoid", "digits-sigmoid",
     mlp(48, 32, activation="hard_sigmoid", init=normal(30.0)), {}),
    ("spirals-tanh-huge", "spirals-tanh",
     mlp(32, 32, 32, activation="tanh", init=normal(30.0)), {}),
):
    faulty(_name, "saturated", expected.SATURATED | expected.INITIAL, _sane,
           net=_net, **_arguments)

# No activation between the layers.
for _name, _sane, _net in (
    ("spirals-linear-layers", "spirals-mlp", deep(3, 48, "linear")),
    ("parity-3-linear", "parity-3", deep(3, 32, "linear")),
    ("parity-4-linear", "parity-4", mlp(64, activation=None)),
    ("terrain-linear-layers", "terrain-mlp", deep(3, 64, "linear")),
    (
        "spirals-linear-residual",
        "spirals-residual",
        residual(4, 32, activation="linear"),
    ),
):
    faulty(_name, "no function between", expected.WEAK, _sane, net=_net)
