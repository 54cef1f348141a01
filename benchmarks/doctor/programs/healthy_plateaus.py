"""Healthy programs that look faulty: plateaus, few, noisy, rare or raw data."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, data
from benchmarks.doctor.data import Data
from benchmarks.doctor.nets import bag, cnn, deep, mlp, rnn, transformer
from benchmarks.doctor.recipe import Recipe
from benchmarks.doctor.registry import healthy, variant

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# Nothing happens for a long time, then the loss falls.
healthy("parity-4", "plateau", Recipe(
    lambda: data.parity(4, 10), mlp(64, activation="tanh"), epochs=40,
    optimizer=adam(3e-3),
))
healthy("parity-3", "plateau", Recipe(
    lambda: data.parity(3, 12), mlp(32), epochs=30, optimizer=adam(3e-3),
))
healthy("parity-5", "plateau", Recipe(
    lambda: data.parity(5, 9), mlp(96), epochs=40, optimizer=adam(3e-3),
))
variant("parity-3-sgd", "plateau", "parity-3", epochs=50,
        optimizer=lambda: keras.optimizers.SGD(0.1, 0.9))
variant("parity-4-sigmoid", "plateau", "parity-4", epochs=60,
        net=mlp(64, activation="sigmoid"), optimizer=adam(1e-2))
healthy("adding-plateau", "plateau", Recipe(
    lambda: data.adding(20), rnn("GRU", 16), optimizer=adam(5e-3), epochs=20,
))
healthy("adding-plateau-lstm", "plateau", Recipe(
    lambda: data.adding(16), rnn("LSTM", 24), optimizer=adam(1e-2), epochs=25,
))
healthy("recall-plateau", "plateau", Recipe(
    lambda: data.recall(16), rnn("GRU", 16), optimizer=adam(1e-2), epochs=16,
))
variant("digits-sigmoid-plateau", "plateau", "digits-mlp", epochs=40,
        net=deep(3, 48, "sigmoid"), optimizer=adam(3e-3))
variant("digits-deep-sigmoid-plateau", "plateau", "digits-mlp", epochs=40,
        net=deep(4, 48, "sigmoid"), optimizer=adam(5e-3))
variant("spirals-plateau", "plateau", "spirals-mlp", epochs=50,
        net=mlp(32, 32), optimizer=adam(3e-3))
variant("spirals-sigmoid-plateau", "plateau", "spirals-mlp", epochs=60,
        net=mlp(32, 32, activation="sigmoid"), optimizer=adam(2e-2))
variant("backwards-plateau", "plateau", "backwards-transformer", epochs=24,
        net=transformer(2, 24, each_step=True), optimizer=adam(2e-3))
variant("nouns-plateau", "plateau", "nouns-gru", epochs=16,
        net=rnn("LSTM", 24), optimizer=adam(1.5e-3))
variant("digits-sgd-plateau", "plateau", "digits-mlp", epochs=40,
        net=deep(4, 48, "tanh"),
        optimizer=lambda: keras.optimizers.SGD(0.03))
variant("digits-small-init", "plateau", "digits-mlp", epochs=16,
        net=mlp(48, 48, init=lambda: keras.initializers.RandomNormal(0.01)))

# Wrong labels, low ceilings, few rows.
for _share in (0.2, 0.4):
    variant(f"digits-noisy-{_share}", "noisy labels", "digits-mlp",
            change=changes.noisy(_share), net=mlp(32), epochs=8)
variant("mnist-noisy", "noisy labels", "mnist-cnn",
        change=changes.noisy(0.3), epochs=5)
variant("cancer-noisy", "noisy labels", "cancer-mlp",
        change=changes.noisy(0.2), net=mlp(16), epochs=10)
variant("blobs-noisy", "noisy labels", "blobs-mlp",
        change=changes.noisy(0.3))
for _name, _ceiling, _net in (
    ("hard-80", 0.8, mlp(16)),
    ("hard-70", 0.7, mlp(16)),
    ("hard-75-tanh", 0.75, mlp(12, activation="tanh")),
    ("hard-80-logistic", 0.8, mlp()),
    ("hard-85-dropout", 0.85, mlp(32, dropout=0.3)),
):
    healthy(_name, "hard", Recipe(
        lambda ceiling=_ceiling: data.hard(ceiling), _net, epochs=8))
healthy("friedman-noisy", "hard", Recipe(
    lambda: data.friedman(1000, 5.0), mlp(24), epochs=12))
healthy("terrain-plain", "hard", Recipe(
    data.terrain, mlp(8), epochs=25, optimizer=adam(1e-2)))
healthy("moons-noisy", "hard", Recipe(
    lambda: data.moons(0.4), mlp(16, 16), epochs=12))
healthy("prose-hard", "hard", Recipe(
    lambda: data.prose(500, 12), rnn("GRU", 32, each_step=True),
    optimizer=adam(1e-2), epochs=8))
healthy("blobs-overlapping", "hard", Recipe(
    lambda: data.blobs(6, 4, 4.0), mlp(24), epochs=12))
healthy("fitness", "tiny", Recipe(
    data.fitness, mlp(16), epochs=40, batch=8))
variant("digits-150", "tiny", "digits-mlp", change=changes.only(150),
        epochs=30, batch=16)
variant("wine-40", "tiny", "wine-mlp", change=changes.only(40), epochs=40)
variant("iris-36", "tiny", "iris-mlp", change=changes.only(36), epochs=60,
        batch=8)
variant("cancer-60", "tiny", "cancer-mlp", change=changes.only(60), epochs=25)
variant("mnist-cnn-300", "tiny", "mnist-cnn", change=changes.only(300),
        epochs=16)

# Few samples of a class.
for _name, _weights, _rate in (
    ("plain", None, 3e-3),
    ("weighted", {0: 0.55, 1: 5.0}, 3e-3),
    ("strongly-weighted", {0: 1.0, 1: 10.0}, 1e-3),
):
    variant(f"rare-digit-{_name}", "imbalanced", "rare-digit-mlp",
            net=mlp(48), optimizer=adam(_rate), epochs=14,
            fit={"class_weight": _weights} if _weights else None)
healthy("imbalanced-separable", "imbalanced", Recipe(
    lambda: data.imbalanced(0.05, 2.0), mlp(32, 16), epochs=15))
healthy("imbalanced-weighted", "imbalanced", Recipe(
    lambda: data.imbalanced(0.05, 1.0), mlp(32, 16), epochs=15,
    fit={"class_weight": {0: 0.5, 1: 8.0}}))
variant("imbalanced-focal", "imbalanced", "imbalanced-separable",
        loss="binary_focal_crossentropy", epochs=20)
variant("rare-digit-cnn", "imbalanced", "rare-digit-mlp", net=cnn(8, 16))
variant("digits-few-eights", "imbalanced", "digits-mlp",
        change=changes.rare(8, 0.04), epochs=14)

# Unscaled inputs, and the model trains anyway.
variant("digits-sixteenths", "unscaled but fine", "digits-mlp",
        change=changes.times(16.0), optimizer=adam(1e-3))
variant("mnist-255-adam", "unscaled but fine", "mnist-mlp",
        change=changes.times(255.0), net=mlp(128), optimizer=adam(1e-4),
        epochs=12)
variant("mnist-cnn-255-batch-norm", "unscaled but fine", "mnist-cnn",
        change=changes.times(255.0), net=cnn(8, 16, norm=True, momentum=0.9))
variant("mnist-255-rescaling", "unscaled but fine", "mnist-mlp",
        change=changes.times(255.0), net=mlp(64, 32, scale=1 / 255))
healthy("cancer-raw-normalization", "unscaled but fine", Recipe(
    lambda: data.raw("cancer"), mlp(32, 16, adapt=True), epochs=15),
    "cancer-mlp")
healthy("wine-raw-normalization", "unscaled but fine", Recipe(
    lambda: data.raw("wine"), mlp(24, adapt=True), epochs=25, batch=16),
    "wine-mlp")
variant("friedman-hundreds", "unscaled but fine", "friedman-mlp",
        change=changes.times(30.0), net=mlp(64, 32), epochs=30)
variant("moons-offset", "unscaled but fine", "moons-mlp",
        change=changes.times(1.0, 3.0), epochs=30)
variant("topics-ids", "unscaled but fine", "topics-bag", net=bag(8),
        epochs=12)


# Converged, then trained further; pretrained, then fine-tuned.
def train_first(epochs: int, task: Any = None) -> Any:
    def train(model: Any, data_: Data) -> None:
        source = task(data_) if task else data_
        model.compile(keras.optimizers.Adam(3e-3), {
            "real": "mse", "binary": "binary_crossentropy",
        }.get(data_.task, "sparse_categorical_crossentropy"))
        model.fit(source.x, source.y, epochs=epochs, verbose=0)

    return train


for _of, _rate in (
    ("digits-mlp", 1e-3),
    ("mnist-cnn", 3e-4),
    ("cancer-mlp", 1e-4),
    ("friedman-mlp", 1e-3),
    ("nouns-gru", 5e-4),
    ("moons-mlp", 1e-3),
    ("blobs-mlp", 1e-4),
):
    variant(f"{_of}-trained-on", "converged", _of,
            prepare_data=train_first(12), optimizer=adam(_rate), epochs=8)


def easier(data_: Data) -> Data:
    """Classes in pairs: another task on the same images."""
    return Data(data_.x, data_.y // 2, data_.x_test, data_.y_test // 2,
                data_.task, data_.units)


def freeze_after(epochs: int, kept: int = 1, new_head: bool = True) -> Any:
    """Trains on pairs of classes; then only the last layers."""

    def prepare(model: Any, data_: Data) -> None:
        train_first(epochs, easier)(model, data_)
        if new_head:
            head = model.layers[-1]
            fresh = keras.random.normal(head.kernel.shape, stddev=0.1)
            head.kernel.assign(fresh)
        weighted = [layer for layer in model.layers if layer.weights]
        for layer in weighted[:-kept]:
            layer.trainable = False

    return prepare


for _name, _of, _net, _kept in (
    ("digits-frozen-body", "digits-mlp", mlp(96, 64), 1),
    ("digits-frozen-first", "digits-mlp", mlp(96, 64), 2),
    ("mnist-frozen-body", "mnist-mlp", mlp(128, 64), 1),
    ("digits-cnn-frozen", "digits-cnn", cnn(16, 32), 1),
    ("mnist-cnn-frozen", "mnist-cnn", cnn(12, 24), 1),
    ("digits-frozen-norm", "digits-mlp",
     mlp(96, 64, norm="batch", momentum=0.9), 1),
):
    variant(_name, "fine-tuned", _of, net=_net, epochs=12,
            prepare_data=freeze_after(8, _kept))
variant("digits-tuned-whole", "fine-tuned", "digits-mlp",
        prepare_data=freeze_after(8, 9), optimizer=adam(5e-4))


def random_features(model: Any) -> None:
    """Frozen random features: an established method."""
    for layer in model.layers[:-1]:
        if isinstance(layer, layers.Dense):
            layer.trainable = False


variant("digits-random-features", "fine-tuned", "digits-mlp", net=mlp(256),
        prepare=random_features, epochs=14)
variant("cancer-random-features", "fine-tuned", "cancer-mlp", net=mlp(128),
        prepare=random_features)
