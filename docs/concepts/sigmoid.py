"""Deep stacks of sigmoid: what their slope does, and what saturation does."""

from typing import Any

import keras
import numpy as np
from keras import layers

from digits import accuracy, compiled, digits, stack
from keras_concepts.callbacks import SignalMonitor
from measured import Measured

DEPTH, UNITS, EPOCHS = 12, 32, 15
HIDDEN_UNITS = DEPTH * UNITS


def normalized() -> keras.Sequential:
    """Batch normalization before each sigmoid."""
    keras.utils.set_random_seed(0)
    hidden: list[Any] = []
    for _ in range(DEPTH):
        hidden += [
            layers.Dense(UNITS, use_bias=False),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("sigmoid"),
        ]
    head = layers.Dense(10, "softmax")
    return keras.Sequential([keras.Input((64,)), *hidden, head])


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    networks = {
        "sigmoid": stack("sigmoid", DEPTH, UNITS),
        "ReLU": stack("relu", DEPTH, UNITS),
        "sigmoid, normalized": normalized(),
    }
    hidden = [layer.output for layer in networks["sigmoid"].layers[:-1]]
    outputs = keras.Model(networks["sigmoid"].inputs, hidden).predict(
        x[:256], verbose=0
    )
    slopes = [float(np.mean(a * (1.0 - a))) for a in outputs]
    losses, scores, saturated = {}, {}, {}
    for name, model in networks.items():
        monitor = SignalMonitor(probe=(x[:256], y[:256]))
        history = compiled(model).fit(
            x, y, 64, epochs=EPOCHS, verbose=0, callbacks=[monitor]
        )
        losses[name] = history.history["loss"]
        scores[name] = accuracy(model, x_test, y_test)
        rows = monitor.recording.select(quantity="saturated_units")
        saturated[name] = [
            rows.value[rows.epoch == epoch].sum() for epoch in (-1, EPOCHS - 1)
        ]
    numbers = {
        "slope": f"{np.mean(slopes):.3f}",
        "product": f"{np.mean(slopes) ** DEPTH:.0e}",
        "saturated_before": f"{saturated['sigmoid'][0]:.0f}",
        "sigmoid_accuracy": f"{scores['sigmoid']:.2f}",
        "relu_accuracy": f"{scores['ReLU']:.2f}",
        "normalized_accuracy": f"{scores['sigmoid, normalized']:.2f}",
        "normalized_saturated": f"{saturated['sigmoid, normalized'][1]:.0f}",
    }
    return Measured(numbers, {"slopes": slopes, "losses": losses})


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    left.plot(range(1, DEPTH + 1), series["slopes"], "o-", label="measured")
    left.axhline(0.25, ls=":", color="gray", label="largest possible")
    left.set(
        ylim=(0.0, 0.3),
        xlabel="hidden layer",
        title="mean slope of the sigmoids",
        xticks=range(1, DEPTH + 1),
    )
    left.legend(loc="lower right")
    for name, losses in series["losses"].items():
        right.plot(range(1, EPOCHS + 1), losses, label=name)
    right.set(
        xlabel="epoch",
        title="training loss",
        ylim=(0, None),
        xticks=[1, 5, 10, 15],
    )
    right.legend(loc="center right", fontsize=9)
