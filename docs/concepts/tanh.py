"""Tanh on inputs of the right scale, and on raw pixels."""

from typing import Any

import keras
import numpy as np

from digits import accuracy, compiled, digits, stack
from keras_concepts.callbacks import SignalMonitor
from measured import Measured

DEPTH, UNITS, EPOCHS = 5, 32, 10
# Times 16 the pixels lie between 0 and 16, times 255 between 0 and 255.
GREYS, BYTES = 16, 255
SCALES = {"0 to 1": 1.0, f"0 to {GREYS}": 16.0, f"0 to {BYTES}": 255.0}


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    slopes, losses, numbers = {}, {}, {}
    for name, scale in SCALES.items():
        model = stack("tanh", DEPTH, UNITS)
        hidden = [layer.output for layer in model.layers[:-1]]
        outputs = keras.Model(model.inputs, hidden).predict(
            scale * x[:256], verbose=0
        )
        slopes[name] = [float(np.mean(1.0 - np.square(a))) for a in outputs]
        monitor = SignalMonitor(probe=(scale * x[:256], y[:256]))
        history = compiled(model).fit(
            scale * x, y, 64, epochs=EPOCHS, verbose=0, callbacks=[monitor]
        )
        losses[name] = history.history["loss"]
        first = monitor.recording.select("*hidden_1", "saturated_units")
        key = name.split()[-1]
        numbers[f"slope_{key}"] = f"{slopes[name][0]:.2f}"
        numbers[f"saturated_{key}"] = f"{first.value[0]:.0f}"
        score = accuracy(model, scale * x_test, y_test)
        numbers[f"accuracy_{key}"] = f"{score:.2f}"
    return Measured(numbers, {"slopes": slopes, "losses": losses})


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for name, values in series["slopes"].items():
        left.plot(range(1, DEPTH + 1), values, "o-", label=name)
    left.set(
        ylim=(0.0, 1.02),
        xlabel="hidden layer",
        title="mean slope before training",
        xticks=range(1, DEPTH + 1),
    )
    left.legend(title="pixels from")
    for name, values in series["losses"].items():
        right.plot(range(1, EPOCHS + 1), values, label=name)
    right.set(xlabel="epoch", title="training loss", ylim=(0, None))
    right.legend(title="pixels from")
