"""Faulty rates: too high, too small, exploding."""

from typing import Any

import keras

from benchmarks.doctor import changes, expected
from benchmarks.doctor.nets import cnn, deep, mlp, rnn
from benchmarks.doctor.registry import faulty

# Tables of programs read better in their own layout.
# fmt: off

optimizers = keras.optimizers
schedules = keras.optimizers.schedules


def sgd(rate: float, momentum: float = 0.0, **arguments: Any) -> Any:
    return lambda: optimizers.SGD(rate, momentum, **arguments)


def adam(rate: float, **arguments: Any) -> Any:
    return lambda: optimizers.Adam(rate, **arguments)


# Too high.
for _name, _sane, _optimizer in (
    ("digits-adam-1", "digits-mlp", adam(1.0)),
    ("digits-sgd-10", "digits-mlp", sgd(10.0)),
    ("digits-momentum-5", "digits-mlp", sgd(3.0, 0.9)),
    ("mnist-cnn-adam-0.3", "mnist-cnn", adam(0.3)),
    ("mnist-adam-0.5", "mnist-mlp", adam(0.5)),
    ("mnist-cnn-sgd-5", "mnist-cnn", sgd(5.0)),
    ("cancer-sgd-1000", "cancer-mlp", sgd(1000.0)),
    ("moons-adam-2", "moons-mlp", adam(2.0)),
    ("spirals-adam-0.5", "spirals-mlp", adam(0.5)),
    ("nouns-adam-1", "nouns-gru", adam(1.0)),
    ("prose-adam-0.5", "prose-gru", adam(0.5)),
    ("backwards-adam-0.3", "backwards-transformer", adam(0.3)),
    ("nouns-transformer-adam-1", "nouns-transformer", adam(1.0)),
    ("recall-adam-1", "recall-gru", adam(1.0)),
    ("topics-transformer-adam-1", "topics-transformer", adam(1.0)),
    ("digits-tanh-adam-1", "digits-tanh", adam(1.0)),
    ("parity-momentum-50", "parity-4", sgd(50.0, 0.9)),
    ("blobs-rmsprop-3", "blobs-mlp", lambda: optimizers.RMSprop(3.0)),
    ("digits-autoencoder-adam-0.5", "digits-autoencoder", adam(0.5)),
):
    faulty(_name, "rate too high", expected.RATE_TOO_HIGH, _sane,
           optimizer=_optimizer)

# Too high in regression: the loss diverges.
for _name, _sane, _optimizer in (
    ("boston-sgd-1", "boston-mlp", sgd(1.0)),
    ("friedman-sgd-2", "friedman-mlp", sgd(2.0)),
    ("cars-momentum-1", "cars-mlp", sgd(0.5, 0.95)),
    ("diabetes-sgd-1", "diabetes-mlp", sgd(1.0)),
    ("terrain-sgd-3", "terrain-mlp", sgd(3.0)),
    ("waves-sgd-20", "waves-gru", sgd(20.0)),
    ("digits-autoencoder-sgd", "digits-autoencoder", sgd(100.0, 0.9)),
    ("adding-sgd-10", "adding-gru", sgd(10.0)),
):
    faulty(_name, "exploding", expected.EXPLODING | expected.RATE_TOO_HIGH,
           _sane, optimizer=_optimizer)
faulty("friedman-deep-exploding", "exploding", expected.EXPLODING
       | expected.INITIAL, "friedman-mlp", net=deep(12, 32,
       init=lambda: keras.initializers.RandomNormal(stddev=0.6)),
       optimizer=sgd(0.01))
faulty("waves-rnn-exploding", "exploding", expected.EXPLODING
       | expected.INITIAL, "waves-simple-rnn", net=rnn("SimpleRNN", 16,
       activation="relu", recurrent_initializer={
           "class_name": "RandomNormal", "config": {"stddev": 1.0}}),
       optimizer=sgd(0.05))

# Too small.
for _name, _sane, _optimizer in (
    ("digits-adam-1e-7", "digits-mlp", adam(1e-7)),
    ("digits-sgd-1e-5", "digits-mlp", sgd(1e-5)),
    ("mnist-cnn-adam-1e-6", "mnist-cnn", adam(1e-6)),
    ("mnist-sgd-1e-4", "mnist-mlp", sgd(1e-4)),
    ("cancer-adam-1e-6", "cancer-mlp", adam(1e-6)),
    ("boston-sgd-1e-6", "boston-mlp", sgd(1e-6)),
    ("friedman-adam-1e-6", "friedman-mlp", adam(1e-6)),
    ("nouns-sgd-1e-3", "nouns-gru", sgd(1e-3)),
    ("spirals-adam-1e-6", "spirals-mlp", adam(1e-6)),
    ("prose-adam-1e-6", "prose-gru", adam(1e-6)),
    ("topics-sgd-1e-3", "topics-bag", sgd(1e-3)),
    ("backwards-adam-1e-6", "backwards-transformer", adam(1e-6)),
    (
        "digits-adadelta-default",
        "digits-mlp",
        lambda: optimizers.Adadelta(1e-3),
    ),
    ("mnist-cnn-adagrad", "mnist-cnn", lambda: optimizers.Adagrad(1e-5)),
    ("digits-clipped-away", "digits-mlp", sgd(0.05, clipnorm=1e-4)),
    ("mnist-clipped-away", "mnist-mlp", sgd(0.05, clipvalue=1e-6)),
):
    faulty(_name, "rate too small", expected.RATE_TOO_SMALL, _sane,
           optimizer=_optimizer)


def scheduled(function: Any) -> Any:
    return {
        "callbacks": lambda: [keras.callbacks.LearningRateScheduler(function)]
    }


# A schedule that ends, or starts, near 0.
for _name, _sane, _arguments in (
    ("digits-decays-at-once", "digits-mlp", {"optimizer": lambda:
     optimizers.Adam(schedules.ExponentialDecay(1e-3, 2, 0.5))}),
    ("mnist-cnn-decays-at-once", "mnist-cnn", {"optimizer": lambda:
     optimizers.SGD(schedules.ExponentialDecay(0.01, 3, 0.5))}),
    ("friedman-rate-of-epoch", "friedman-mlp",
     {"fit": scheduled(lambda epoch: 1e-3 * 0.01 ** (epoch + 1))}),
    ("digits-endless-warm-up", "digits-mlp", {"optimizer": lambda:
     optimizers.SGD(schedules.CosineDecay(0.0, 10**6, warmup_target=0.1,
                                          warmup_steps=10**6))}),
    ("cancer-cosine-too-short", "cancer-mlp", {"optimizer": lambda:
     optimizers.SGD(schedules.CosineDecay(0.01, 5))}),
    ("boston-decays-at-once", "boston-mlp", {"optimizer": lambda:
     optimizers.Adam(schedules.InverseTimeDecay(1e-3, 1, 5.0))}),
    ("nouns-zero", "nouns-gru", {"fit": scheduled(lambda epoch: 0.0)}),
):
    faulty(_name, "rate runs out", expected.RATE_TOO_SMALL, _sane,
           **_arguments)

# One rate for a batch that is far too large.
faulty("digits-one-step-an-epoch", "too few steps", expected.RATE_TOO_SMALL,
       "digits-mlp", batch=2000, optimizer=adam(1e-4))
faulty("mnist-cnn-one-step-an-epoch", "too few steps",
       expected.RATE_TOO_SMALL, "mnist-cnn", batch=2000,
       optimizer=adam(1e-4))
faulty("cancer-one-step-an-epoch", "too few steps", expected.RATE_TOO_SMALL,
       "cancer-mlp", batch=1000, optimizer=sgd(1e-3))

# Targets whose scale does not fit the rate.
for _name, _sane, _change, _arguments in (
    ("boston-dollars", "boston-mlp", changes.target_times(9200.0, 22500.0),
     {}),
    ("friedman-millions", "friedman-mlp", changes.target_times(5e6, 14e6),
     {}),
    ("terrain-millimetres", "terrain-mlp",
     changes.target_times(40e3, 400e3), {}),
    ("waves-thousands", "waves-gru", changes.target_times(5000.0), {}),
    ("adding-offset", "adding-gru", changes.target_times(1e4, 3e4), {}),
    ("cars-sgd-dollars", "cars-mlp", changes.target_times(6000.0, 3e4),
     {"optimizer": sgd(0.01)}),
    ("diabetes-offset", "diabetes-mlp", changes.target_times(77.0, 152.0),
     {"optimizer": adam(1e-4)}),
    ("shares-offset", "shares-mlp", changes.target_times(500.0, 5e4), {}),
):
    faulty(_name, "target scale", expected.TARGET_SCALE
           | (expected.EXPLODING if "sgd" in _name else frozenset()), _sane,
           change=_change, **_arguments)

# Momentum that is too high.
faulty("digits-momentum-0.999", "rate too high", expected.RATE_TOO_HIGH,
       "digits-mlp", optimizer=sgd(0.3, 0.999), net=mlp(64, 64))
faulty("mnist-cnn-momentum-0.999", "rate too high", expected.RATE_TOO_HIGH,
       "mnist-cnn", optimizer=sgd(0.1, 0.995), net=cnn(8, 16))
