"""Faulty last layers: against the loss, against the labels."""

from typing import Any

import keras
from keras import layers

from benchmarks.doctor import changes, expected
from benchmarks.doctor.nets import then
from benchmarks.doctor.recipe import EachTime
from benchmarks.doctor.registry import RECIPES, faulty

# Tables of programs read better in their own layout.
# fmt: off

losses = keras.losses
sparse_logits = EachTime(
    lambda: losses.SparseCategoricalCrossentropy(from_logits=True)
)
one_hot_logits = EachTime(
    lambda: losses.CategoricalCrossentropy(from_logits=True)
)
binary_logits = EachTime(lambda: losses.BinaryCrossentropy(from_logits=True))


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda: keras.optimizers.SGD(rate, momentum)


def net_of(name: str) -> Any:
    return RECIPES[name].net


# A softmax or sigmoid, and the loss adds another.
for _name, _sane, _arguments in (
    ("digits-softmax-as-logits", "digits-mlp", {"loss": sparse_logits,
     "optimizer": sgd(0.05)}),
    ("mnist-cnn-softmax-as-logits", "mnist-cnn", {"loss": sparse_logits,
     "optimizer": sgd(0.01, 0.9), "epochs": 6}),
    ("mnist-softmax-as-logits", "mnist-mlp", {"loss": sparse_logits,
     "optimizer": sgd(0.05)}),
    ("digits-one-hot-softmax-as-logits", "digits-one-hot",
     {"loss": one_hot_logits, "optimizer": sgd(0.05), "epochs": 8}),
    ("nouns-sigmoid-as-logits", "nouns-gru", {"loss": binary_logits,
     "threshold": 0.0}),
    ("cancer-sigmoid-as-logits", "cancer-mlp", {"loss": binary_logits,
     "threshold": 0.0}),
    ("rare-digit-sigmoid-as-logits", "rare-digit-mlp",
     {"loss": binary_logits, "threshold": 0.5, "epochs": 8}),
    ("prose-softmax-as-logits", "prose-gru", {"loss": sparse_logits}),
):
    faulty(_name, "probabilities as logits", expected.HEAD, _sane, **_arguments)

# No softmax or sigmoid, and the loss expects one.
for _name, _sane, _arguments in (
    ("digits-no-softmax", "digits-mlp", {"optimizer": sgd(0.1)}),
    ("digits-no-softmax-adam", "digits-mlp", {}),
    ("mnist-cnn-no-softmax", "mnist-cnn", {"optimizer": sgd(0.02, 0.9)}),
    ("mnist-cnn-no-softmax-adam", "mnist-cnn", {}),
    ("mnist-no-softmax", "mnist-mlp", {}),
    ("patches-no-sigmoid", "patches-cnn", {"optimizer": sgd(0.1)}),
    ("nouns-no-sigmoid", "nouns-gru", {"optimizer": sgd(0.5)}),
    ("digit-columns-no-sigmoid", "digit-columns-mlp",
     {"optimizer": sgd(0.3)}),
    ("blobs-no-softmax", "blobs-mlp", {}),
    ("prose-no-softmax", "prose-gru", {}),
    ("topics-no-sigmoid", "topics-bag", {"optimizer": sgd(1.0)}),
):
    faulty(_name, "logits as probabilities", expected.HEAD, _sane,
           head="linear", **_arguments)

# A softmax over one unit is always 1.
for _name, _sane in (
    ("cancer-softmax-one", "cancer-mlp"),
    ("moons-softmax-one", "moons-mlp"),
    ("nouns-softmax-one", "nouns-gru"),
    ("patches-softmax-one", "patches-cnn"),
    ("topics-softmax-one", "topics-bag"),
    ("even-digits-softmax-one", "even-digits-mlp"),
):
    faulty(_name, "softmax over one unit", expected.HEAD, _sane,
           head="softmax")

# Softmax of softmax; sigmoid or ReLU before softmax.
for _name, _sane, _head, _layer, _arguments in (
    ("digits-two-softmaxes", "digits-mlp", "softmax", layers.Softmax,
     {"optimizer": sgd(0.1)}),
    ("mnist-cnn-two-softmaxes", "mnist-cnn", "softmax", layers.Softmax,
     {"optimizer": sgd(0.02, 0.9)}),
    ("mnist-two-softmaxes", "mnist-mlp", "softmax", layers.Softmax,
     {"optimizer": sgd(0.03)}),
    ("nouns-two-sigmoids", "nouns-gru", "sigmoid",
     lambda: layers.Activation("sigmoid"), {}),
    ("cancer-two-sigmoids", "cancer-mlp", "sigmoid",
     lambda: layers.Activation("sigmoid"), {}),
    ("digits-three-softmaxes", "digits-mlp", "softmax",
     lambda: keras.Sequential([layers.Softmax(), layers.Softmax()]),
     {"optimizer": sgd(0.1)}),
):
    faulty(_name, "two softmaxes", expected.HEAD, _sane, head=_head,
           net=then(net_of(_sane), _layer), **_arguments)

# The head cannot reach the targets.
for _name, _sane, _head, _change in (
    ("boston-relu-head", "boston-mlp", "relu",
     changes.target_times(1.0, -1.5)),
    ("friedman-sigmoid-head", "friedman-mlp", "sigmoid",
     changes.target_times(1.0, 2.0)),
    ("diabetes-tanh-head", "diabetes-mlp", "tanh",
     changes.target_times(77.0, 152.0)),
    ("cars-softmax-head", "cars-mlp", "softmax", None),
    ("terrain-sigmoid-head", "terrain-mlp", "sigmoid",
     changes.target_times(50.0, 300.0)),
    ("waves-relu-head", "waves-gru", "relu", None),
    ("waves-sigmoid-head", "waves-gru", "sigmoid", None),
    ("autoencoder-softmax-head", "digits-autoencoder", "softmax", None),
    ("autoencoder-sigmoid-255", "mnist-autoencoder", "sigmoid",
     changes.chain(changes.times(255.0), changes.target_times(255.0))),
    ("shares-relu-head", "shares-mlp", "relu",
     changes.target_times(1.0, -0.5)),
):
    faulty(_name, "head cannot reach", expected.HEAD_RANGE, _sane, head=_head,
           change=_change)

# A ReLU where the classes should be separated.
faulty("digits-relu-softmax", "head cannot reach", expected.HEAD
       | expected.DEAD, "digits-mlp", head="relu", loss=sparse_logits,
       head_arguments={"bias_initializer": lambda:
                       keras.initializers.Constant(-2.0)})

# Labels that the loss does not take, from logits: with probabilities, some
# backends refuse them.
for _name, _sane, _change, _arguments in (
    ("digits-binary-loss", "digits-mlp", None, {"units": 1}),
    ("wine-binary-loss", "wine-mlp", None, {"units": 1}),
    ("blobs-binary-loss", "blobs-mlp", None, {"units": 1}),
    ("cancer-labels-1-2", "cancer-mlp", changes.targets(lambda y: y + 1), {}),
    ("nouns-labels-0-255", "nouns-gru", changes.targets(lambda y: y * 255),
     {"epochs": 4}),
    ("patches-labels-1-2", "patches-cnn", changes.targets(lambda y: y + 1),
     {}),
    ("topics-labels-1-2", "topics-bag", changes.targets(lambda y: y + 1), {}),
    ("moons-labels-0-5", "moons-mlp", changes.targets(lambda y: y * 5 + 1),
     {}),
    ("digit-columns-plus-1", "digit-columns-mlp",
     changes.targets(lambda y: y + 1.0), {}),
):
    faulty(_name, "labels outside 0 and 1", expected.LABELS, _sane,
           loss=binary_logits, head="linear", threshold=0.0, change=_change,
           **_arguments)

# Class numbers as if they were quantities.
faulty("digits-number-as-quantity", "class numbers as quantities",
       expected.QUANTITIES, "digits-mlp",
       loss="mse", head="sigmoid", units=1)
faulty("wine-number-as-quantity", "class numbers as quantities",
       expected.QUANTITIES, "wine-mlp",
       loss="mse", head="sigmoid", units=1)
faulty("blobs-number-as-quantity", "class numbers as quantities",
       expected.QUANTITIES, "blobs-mlp",
       loss="mse", head="softmax", units=1)
