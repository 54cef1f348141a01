"""The squared error and the cross-entropy of the same bad start."""

from typing import Any

import keras
import numpy as np
from keras import layers

from digits import digits
from keras_concepts.callbacks import PenaltyReporter
from measured import Measured

EPOCHS, BIAS = 30, -8.0


def network(penalty: Any = None) -> keras.Model:
    """Sigmoid outputs that begin by answering no, with certainty."""
    keras.utils.set_random_seed(0)
    head = layers.Dense(
        10, "sigmoid", bias_initializer=keras.initializers.Constant(BIAS)
    )
    hidden = layers.Dense(64, "relu", kernel_regularizer=penalty)
    return keras.Sequential([keras.Input((64,)), hidden, head])


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    one_hot = np.eye(10, dtype="float32")[y]
    scores, numbers = {}, {}
    for name, loss in (
        ("mean squared error", "mean_squared_error"),
        ("binary cross-entropy", "binary_crossentropy"),
    ):
        model = network()
        model.compile(keras.optimizers.SGD(0.5), loss)
        found = []
        for _ in range(EPOCHS):
            model.fit(x, one_hot, 64, verbose=0)
            p = model.predict(x_test, verbose=0)
            found.append(float((p.argmax(axis=1) == y_test).mean()))
        scores[name] = found
        key = "squared" if "squared" in name else "entropy"
        numbers[f"{key}_1"] = f"{found[0]:.2f}"
        numbers[f"{key}_last"] = f"{found[-1]:.2f}"
    model = network("l2")
    model.compile("adam", "binary_crossentropy")
    reporter = PenaltyReporter()
    model.fit(x, one_hot, 64, epochs=1, verbose=0, callbacks=[reporter])
    share = reporter.recording.select("", "penalty_share").value[-1]
    # Slopes of both objectives in a logit whose label is 1.
    p = 1.0 / (1.0 + np.exp(-BIAS))
    numbers |= {
        "share": f"{100 * share:.0f}",
        "squared_slope": f"{2 * (1 - p) * p * (1 - p):.1e}",
        "entropy_slope": f"{1 - p:.2f}",
    }
    return Measured(numbers, scores)


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    z = np.linspace(-10.0, 4.0, 200)
    p = 1.0 / (1.0 + np.exp(-z))
    left.plot(z, 2 * (1 - p) ** 2 * p, label="mean squared error")
    left.plot(z, 1 - p, label="binary cross-entropy")
    left.set(xlabel="logit", title="pull on a logit whose label is 1")
    left.legend()
    for name, values in series.items():
        right.plot(range(1, EPOCHS + 1), values, label=name)
    right.set(xlabel="epoch", title="test accuracy", ylim=(0, 1))
    right.legend(loc="center right")
