"""Which penalties make weights exactly zero."""

from typing import Any

import keras
import numpy as np
from keras import layers

import keras_concepts as kc
from digits import accuracy, compiled, digits
from measured import Measured

STRENGTH, EPOCHS = 1e-3, 60


def network(name: str) -> keras.Model:
    arguments: dict[str, Any] = {
        "none": {},
        "L1": {"kernel_regularizer": kc.regularizers.L1(STRENGTH)},
        "L2": {"kernel_regularizer": kc.regularizers.L2(STRENGTH)},
        "SoftThreshold": {
            "kernel_constraint": kc.constraints.SoftThreshold(STRENGTH)
        },
    }[name]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(64, "relu", **arguments),
            layers.Dense(10, "softmax"),
        ]
    )
    return compiled(model, keras.optimizers.SGD(0.1))


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    weights, numbers = {}, {}
    for name in ("none", "L1", "SoftThreshold", "L2"):
        model = network(name)
        reporter = kc.callbacks.PenaltyReporter()
        model.fit(x, y, 32, epochs=EPOCHS, verbose=0, callbacks=[reporter])
        kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
        weights[name] = kernel.ravel()
        key = name.lower()
        numbers[f"zeros_{key}"] = f"{100 * np.mean(kernel == 0.0):.0f}"
        numbers[f"accuracy_{key}"] = f"{accuracy(model, x_test, y_test):.3f}"
        if name == "none":
            rate = accuracy(model, x_test, y_test)
            error = 100 * np.sqrt(rate * (1.0 - rate) / len(y_test))
            numbers["standard_error"] = f"{error:.1f}"
        if name in ("L1", "L2"):
            share = reporter.recording.select("", "penalty_share").value[-1]
            numbers[f"share_{key}"] = f"{100 * share:.0f}"
        if name == "L1":
            small = np.mean(np.abs(kernel) < STRENGTH)
            numbers["small_l1"] = f"{100 * small:.0f}"
    return Measured(numbers, weights)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for name, values in series.items():
        sizes = np.sort(np.abs(values))
        sizes[sizes == 0.0] = 1e-8
        shares = np.arange(1, len(sizes) + 1) / len(sizes)
        axes.plot(sizes, 100 * shares, label=name)
    axes.set(
        xscale="log",
        xlim=(1e-8, 2.0),
        ylim=(0, 102),
        xlabel="size of a weight (the left edge is exactly zero)",
        ylabel="weights that are smaller, %",
        title="weights of the first layer after training",
    )
    axes.legend()
