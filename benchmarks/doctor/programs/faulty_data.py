"""Faulty inputs: unscaled, empty, not finite, sorted, mismatched."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from benchmarks.doctor import changes, data, expected
from benchmarks.doctor.data import Array, Data
from benchmarks.doctor.nets import deep, mlp
from benchmarks.doctor.registry import faulty

# Tables of programs read better in their own layout.
# fmt: off


def adam(rate: float) -> Any:
    return lambda: keras.optimizers.Adam(rate)


def sgd(rate: float, momentum: float = 0.0) -> Any:
    return lambda: keras.optimizers.SGD(rate, momentum)


# Unscaled inputs.
_255 = changes.times(255.0)
for _name, _sane, _arguments in (
    ("digits-255-sgd", "digits-mlp", {"change": _255, "optimizer": sgd(0.1)}),
    ("digits-255-sigmoid", "digits-sigmoid",
     {"change": _255, "net": mlp(48, 32, activation="sigmoid")}),
    ("mnist-255-sgd", "mnist-mlp", {"change": _255, "optimizer": sgd(0.05)}),
    ("mnist-cnn-255-momentum", "mnist-cnn",
     {"change": _255, "optimizer": sgd(0.02, 0.9)}),
    ("mnist-255-tanh", "mnist-tanh",
     {"change": changes.times(2550.0), "net": mlp(48, 32, activation="tanh")}),
    ("cancer-thousands", "cancer-mlp", {"change": changes.times(1000.0, 500.0),
     "optimizer": sgd(0.05)}),
    ("friedman-ten-thousands", "friedman-mlp",
     {"change": changes.times(1e4, 3e4)}),
    ("waves-offset", "waves-gru", {"change": changes.times(1.0, 300.0)}),
    ("moons-offset-1000", "moons-mlp", {"change": changes.times(1.0, 1000.0)}),
    ("digit-rows-255-lstm", "digit-rows-lstm",
     {"change": changes.chain(changes.times(2550.0), changes.rows_as_steps)}),
    ("spirals-millions", "spirals-tanh", {"change": changes.times(1e6)}),
):
    faulty(_name, "unscaled inputs", expected.UNSCALED, _sane, **_arguments)
for _sane, _name, _arguments in (
    ("wine-mlp", "wine", {"optimizer": sgd(0.05)}),
    ("wine-mlp", "wine", {"net": mlp(24, activation="sigmoid")}),
    ("boston-mlp", "boston", {"optimizer": sgd(0.01)}),
    ("diabetes-mlp", "diabetes", {"optimizer": sgd(0.01)}),
    ("cancer-mlp", "cancer", {"net": mlp(32, 16, activation="sigmoid")}),
):
    _way = "sgd" if "optimizer" in _arguments else "flat"
    faulty(f"{_name}-raw-{_way}", "unscaled inputs", expected.UNSCALED, _sane,
           data=functools.partial(data.raw, _name), **_arguments)


# Inputs that preprocessing has emptied.
def nothing(x: Array) -> Array:
    return np.zeros_like(x)


for _name, _sane, _change in (
    ("digits-divided-as-integers", "digits-mlp", changes.inputs(nothing)),
    ("mnist-cnn-divided-twice", "mnist-cnn", changes.times(1 / 255.0**2)),
    ("cancer-one-column", "cancer-mlp",
     changes.inputs(lambda x: np.repeat(x[:1], len(x), axis=0))),
    ("nouns-lost-letters", "nouns-gru",
     changes.inputs(lambda x: np.full_like(x, 31))),
    ("friedman-clipped", "friedman-mlp",
     changes.inputs(lambda x: np.clip(x * 1e3 + 5e3, 0.0, 1.0))),
):
    faulty(_name, "empty inputs", expected.CONSTANT_INPUT, _sane,
           change=_change)

# NaN and infinity.
for _name, _sane, _change in (
    ("digits-nan-row", "digits-mlp", changes.with_bad_value(np.nan)),
    ("wine-nan-rows", "wine-mlp", changes.with_bad_value(np.nan, 8)),
    ("boston-infinite", "boston-mlp", changes.with_bad_value(np.inf)),
    ("waves-nan-sequence", "waves-gru",
     changes.with_bad_value(np.nan, 2, at_rest=True)),
    ("friedman-nan-target", "friedman-mlp", changes.with_bad_target(np.nan)),
    ("mnist-cnn-nan", "mnist-cnn", changes.with_bad_value(np.nan, 3)),
):
    faulty(_name, "NaN", expected.NON_FINITE, _sane, change=_change)


def root_of_difference(y_true: Any, y_pred: Any) -> Any:
    """Its gradient is infinite where the difference is 0."""
    difference = keras.ops.relu(y_pred - y_true)
    return keras.ops.mean(keras.ops.sqrt(difference), axis=-1)


def log_of_probability(y_true: Any, y_pred: Any) -> Any:
    """Without the epsilon."""
    return -keras.ops.mean(
        y_true * keras.ops.log(y_pred)
        + (1.0 - y_true) * keras.ops.log(1.0 - y_pred),
        axis=-1,
    )


def by_spread(y_true: Any, y_pred: Any) -> Any:
    """Divides by a standard deviation that is 0 for one column."""
    spread = keras.ops.std(y_true, axis=-1, keepdims=True)
    return keras.ops.mean(((y_true - y_pred) / spread) ** 2, axis=-1)


faulty("boston-root-loss", "NaN", expected.NON_FINITE, "boston-mlp",
       loss=root_of_difference)
faulty("friedman-divided-by-0", "NaN", expected.NON_FINITE, "friedman-mlp",
       loss=by_spread)
faulty("digit-columns-log", "NaN", expected.NON_FINITE, "digit-columns-mlp",
       loss=log_of_probability, head="relu")

# Sorted by label, and not shuffled.
_sorted = {"change": changes.sort_by_target, "fit": {"shuffle": False}}
for _name, _sane, _arguments in (
    ("digits-sorted", "digits-mlp", {"optimizer": adam(0.02)}),
    ("digits-sorted-sgd", "digits-mlp", {"optimizer": sgd(0.1)}),
    ("mnist-sorted", "mnist-mlp", {}),
    ("mnist-cnn-sorted", "mnist-cnn", {}),
    ("nouns-sorted", "nouns-gru", {"optimizer": sgd(0.5)}),
    ("patches-sorted", "patches-cnn", {"optimizer": sgd(0.1)}),
    ("topics-sorted", "topics-bag", {"optimizer": sgd(1.0)}),
    ("even-digits-sorted", "even-digits-mlp", {"optimizer": sgd(0.3)}),
    ("friedman-sorted", "friedman-mlp", {}),
):
    faulty(_name, "sorted", expected.SORTED, _sane, **_sorted, **_arguments)


def buffer(size: int) -> Any:
    """Sorted rows through a shuffle buffer that is too small."""

    def change(given: Data) -> Data:
        given = changes.sort_by_target(given)
        keys = np.arange(len(given.x)) + np.random.default_rng(15).uniform(
            0, size, len(given.x)
        )
        order = np.argsort(keys)
        return dataclasses.replace(given, x=given.x[order], y=given.y[order])

    return change


faulty("digits-small-buffer", "sorted", expected.SORTED, "digits-mlp",
       change=buffer(15), fit={"shuffle": False}, optimizer=adam(0.01))
faulty("mnist-cnn-small-buffer", "sorted", expected.SORTED, "mnist-cnn",
       change=buffer(30), fit={"shuffle": False})

# The last classes of sorted data are validation data.
for _name, _sane in (
    ("digits-sorted-split", "digits-mlp"),
    ("mnist-cnn-sorted-split", "mnist-cnn"),
    ("wine-sorted-split", "wine-mlp"),
    ("blobs-sorted-split", "blobs-mlp"),
):
    faulty(_name, "sorted split", expected.SORTED,
           _sane, change=changes.sort_by_target,
           fit={"validation_split": 0.35})

# Inputs and targets that do not belong together.
for _name, _sane, _change, _arguments in (
    ("digits-shuffled-labels", "digits-mlp", changes.shuffle_targets, {}),
    ("digits-labels-off-by-one", "digits-mlp", changes.shift_targets,
     {"validation": "held"}),
    ("mnist-cnn-shuffled-labels", "mnist-cnn", changes.shuffle_targets, {}),
    ("cancer-labels-off-by-one", "cancer-mlp", changes.shift_targets,
     {"validation": "held"}),
    ("friedman-shuffled", "friedman-mlp", changes.shuffle_targets,
     {"validation": "held"}),
    ("boston-off-by-one", "boston-mlp", changes.shuffle_targets, {}),
    ("nouns-shuffled", "nouns-gru", changes.shuffle_targets, {}),
    ("topics-shuffled", "topics-bag", changes.shuffle_targets,
     {"validation": "held"}),
    ("patches-shuffled", "patches-cnn", changes.shuffle_targets, {}),
    ("waves-shuffled", "waves-gru", changes.shuffle_targets, {}),
    ("moons-shuffled", "moons-mlp", changes.shuffle_targets, {}),
):
    faulty(_name, "out of step", expected.SHUFFLED, _sane, change=_change,
           **_arguments)


# Rows in both splits.
def memorized(share: float, noise: float) -> Any:
    return changes.chain(
        changes.noisy(noise), changes.repeat_into_validation(share)
    )


for _name, _sane, _net, _epochs in (
    ("digits-overlap", "digits-mlp", deep(3, 128), 40),
    ("mnist-overlap", "mnist-mlp", mlp(256, 128), 30),
    ("cancer-overlap", "cancer-mlp", mlp(128, 128), 60),
    ("wine-overlap", "wine-mlp", mlp(256, 128), 100),
):
    faulty(_name, "rows in both splits", expected.OVERLAP, _sane, net=_net,
           reported="val_accuracy", validation="held",
           epochs=_epochs, change=memorized(0.5, 0.4), metrics=("accuracy",))
