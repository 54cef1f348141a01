"""Batch normalization, overfitting, penalties, dropout, majority classes."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, expected
from benchmarks.doctor.nets import cnn, deep, mlp, residual_cnn, rnn
from benchmarks.doctor.registry import faulty

# Tables of programs read better in their own layout.
# fmt: off

regularizers = keras.regularizers


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda: keras.optimizers.SGD(rate, momentum)


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


# Moving averages that lag behind, or never move.
_255 = changes.times(255.0)
for _name, _sane, _arguments in (
    ("digits-slow-averages", "digits-mlp", {"net": mlp(48, 48, norm="batch",
     momentum=0.9999), "change": changes.times(16.0, 30.0)}),
    ("mnist-cnn-slow-averages", "mnist-cnn",
     {"net": cnn(8, 16, norm=True, momentum=0.9999), "change": _255}),
    ("cancer-few-steps", "cancer-mlp", {"net": mlp(32, 16, norm="batch",
     momentum=0.999), "batch": 128, "change": changes.times(30.0, 100.0)}),
    ("patches-slow-averages", "patches-cnn",
     {"net": cnn(8, 16, norm=True, momentum=0.9999), "change": _255}),
    ("digits-resnet-slow", "digits-resnet",
     {"net": residual_cnn(2, 16, momentum=0.9999), "change": _255}),
    ("friedman-slow-averages", "friedman-mlp", {"net": mlp(64, 32,
     norm="batch", momentum=0.9999), "change": changes.times(20.0, 50.0)}),
    ("mnist-few-steps", "mnist-mlp", {"net": mlp(64, 32, norm="batch"),
     "batch": 600, "change": _255, "epochs": 10, "optimizer": adam(1e-2)}),
    ("boston-few-steps", "boston-mlp", {"net": mlp(64, 32, norm="batch",
     momentum=0.999), "batch": 64, "change": changes.times(10.0, 40.0)}),
    ("digits-cnn-momentum-1", "digits-cnn",
     {"net": cnn(8, 16, norm=True, momentum=1.0), "change": _255}),
):
    faulty(_name, "batch norm gap", expected.BATCH_NORM, _sane, **_arguments)


# Memorized training data.
def memorizes(rows: int, noise: float = 0.0) -> Any:
    if not noise:
        return changes.only(rows)
    return changes.chain(changes.only(rows), changes.noisy(noise))


for _name, _sane, _arguments in (
    ("digits-by-heart", "digits-mlp", {"net": mlp(256, 256),
     "change": memorizes(200, 0.3), "epochs": 60}),
    ("mnist-by-heart", "mnist-mlp", {"net": mlp(256, 128),
     "change": memorizes(200, 0.2), "epochs": 60}),
    ("mnist-cnn-by-heart", "mnist-cnn", {"net": cnn(16, 32, dense=64),
     "change": memorizes(150, 0.2), "epochs": 40}),
    ("nouns-by-heart", "nouns-gru", {"net": rnn("GRU", 64),
     "change": memorizes(300), "epochs": 30}),
    ("diabetes-by-heart", "diabetes-mlp", {"net": mlp(256, 256, 128),
     "change": memorizes(120), "epochs": 120}),
    ("friedman-by-heart", "friedman-noisy", {"net": mlp(256, 256),
     "change": memorizes(150), "epochs": 100}),
    ("hard-by-heart", "hard-70", {"net": mlp(256, 256), "epochs": 60}),
    ("moons-by-heart", "moons-noisy", {"net": mlp(256, 256, 256),
     "change": memorizes(100), "epochs": 200}),
    ("cancer-by-heart", "cancer-mlp", {"net": deep(3, 256),
     "change": memorizes(100, 0.2), "epochs": 60}),
    ("prose-by-heart", "prose-gru", {"net": rnn("GRU", 128, each_step=True),
     "change": memorizes(60), "epochs": 60}),
    ("topics-by-heart", "topics-bag", {"change": memorizes(200, 0.3),
     "epochs": 120, "optimizer": adam(2e-2)}),
):
    faulty(_name, "overfitting", expected.OVERFITTING, _sane,
           validation="held", **_arguments)

# Penalties that dominate the loss.
for _name, _sane, _net, _arguments in (
    ("digits-l2-10", "digits-mlp", mlp(64, 64, penalty=regularizers.L2(10.0)),
     {}),
    ("digits-l1-0.1", "digits-mlp", mlp(64, 64, penalty=regularizers.L1(0.1)),
     {}),
    ("mnist-cnn-l2-5", "mnist-cnn", cnn(8, 16, penalty=regularizers.L2(5.0)),
     {}),
    ("boston-l2-10", "boston-mlp", mlp(64, 32, penalty=regularizers.L2(10.0)),
     {}),
    ("friedman-l1-1", "friedman-mlp", mlp(64, 32,
     penalty=regularizers.L1(1.0)), {}),
    ("cancer-l2-20", "cancer-mlp", mlp(32, 16, penalty=regularizers.L2(20.0)),
     {}),
    ("digits-activity-1", "digits-mlp", mlp(64, 64,
     activity=regularizers.L2(1.0)), {}),
    ("nouns-l2", "nouns-gru", rnn("GRU", 24,
     kernel_regularizer=regularizers.L2(50.0)), {}),
    ("digits-l1-sgd", "digits-mlp", mlp(64, 64, penalty=regularizers.L1(0.05)),
     {"optimizer": sgd(0.1)}),
    ("spirals-l2", "spirals-mlp", mlp(48, 48, 48,
     penalty=regularizers.L2(0.05)), {}),
):
    faulty(_name, "penalty", expected.PENALTY, _sane, net=_net, **_arguments)
faulty("digits-decay-1", "penalty", expected.PENALTY
      , "digits-mlp", optimizer=lambda:
       keras.optimizers.AdamW(3e-3, weight_decay=30.0))

# Dropout that leaves nothing.
for _name, _sane, _net in (
    ("digits-dropout-0.97", "digits-mlp", mlp(64, 64, dropout=0.97)),
    ("mnist-cnn-dropout-0.98", "mnist-cnn", cnn(8, 16, dropout=0.98)),
    ("friedman-dropout-0.9", "friedman-mlp", mlp(64, 32, dropout=0.9)),
    ("boston-dropout-0.9", "boston-mlp", mlp(64, 32, dropout=0.9)),
    ("digits-deep-dropout", "digits-mlp", deep(6, 48, dropout=0.8)),
    ("spirals-dropout", "spirals-mlp", mlp(48, 48, 48, dropout=0.8)),
    ("nouns-dropout-0.98", "nouns-gru", lambda d, head: keras.Sequential([
        keras.Input(d.x.shape[1:], dtype="int32"),
        layers.Embedding(32, 16), layers.Dropout(0.95), layers.GRU(16),
        layers.Dropout(0.98), head])),
):
    faulty(_name, "dropout", expected.DROPOUT, _sane, net=_net)

# Nothing but the majority class.
for _name, _sane, _arguments in (
    ("imbalanced-majority", "imbalanced-weighted", {"fit": None,
     "optimizer": adam(2e-4), "epochs": 8}),
    ("rare-digit-majority", "rare-digit-mlp", {"change": changes.rare(1, 0.03),
     "optimizer": sgd(0.02), "epochs": 12}),
    ("rare-digit-logistic", "rare-digit-mlp", {"change": changes.rare(1, 0.02),
     "net": mlp(), "epochs": 8}),
    ("cancer-majority", "cancer-mlp", {"change": changes.rare(0, 0.03),
     "optimizer": sgd(0.01)}),
    ("nouns-majority", "nouns-gru", {"change": changes.rare(0, 0.04)}),
    ("patches-majority", "patches-cnn", {"change": changes.rare(1, 0.03),
     "optimizer": sgd(0.01)}),
    ("topics-majority", "topics-bag", {"change": changes.rare(1, 0.03),
     "epochs": 6}),
    ("even-digits-majority", "even-digits-mlp",
     {"change": changes.rare(1, 0.02), "optimizer": sgd(0.02)}),
):
    faulty(_name, "majority class", expected.COLLAPSE, _sane, **_arguments)

# Class weights that are reversed.
faulty("rare-digit-weights", "class weights", expected.WEIGHTS,
       "rare-digit-strongly-weighted",
       fit={"class_weight": {0: 20.0, 1: 0.1}})
faulty("imbalanced-weights", "class weights", expected.WEIGHTS,
       "imbalanced-weighted", fit={"class_weight": {0: 0.01, 1: 50.0}})
faulty("digits-weights", "class weights", expected.WEIGHTS, "digits-mlp",
       fit={"class_weight": {i: 100.0 if i == 3 else 0.01
                             for i in range(10)}})
faulty("cancer-weights", "class weights", expected.WEIGHTS, "cancer-mlp",
       fit={"class_weight": {0: 50.0, 1: 0.05}})
