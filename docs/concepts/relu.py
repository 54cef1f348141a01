"""Dead units, and what ReLU passes back at two initializations."""

from typing import Any

import keras
import numpy as np

from digits import accuracy, compiled, digits, stack
from keras_concepts.callbacks import SignalMonitor
from measured import Measured

DEPTH, EPOCHS = 20, 10
UNITS = 128
LOW, MIDDLE, HIGH = RATES = (0.001, 0.01, 0.05)


def error_signals(initializer: str) -> np.ndarray:
    """Error signal of each hidden layer, untrained, over the last one's."""
    x, y, _, _ = digits()
    found = []
    for seed in range(5):
        model = compiled(stack("relu", DEPTH, 32, initializer, seed))
        monitor = SignalMonitor(probe=(x[:256], y[:256]))
        model.fit(x[:64], y[:64], verbose=0, callbacks=[monitor])
        rows = monitor.recording.select("*/hidden_*", "error_rms")
        found.append(rows.value[rows.epoch == -1])
    mean = np.exp(np.mean(np.log(found), axis=0))
    return mean / mean[-1]


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    dead, numbers = {}, {}
    for rate in RATES:
        model = compiled(stack("relu", 3, UNITS), keras.optimizers.Adam(rate))
        monitor = SignalMonitor(probe=(x, y))
        model.fit(x, y, 64, epochs=EPOCHS, verbose=0, callbacks=[monitor])
        rows = monitor.recording.select(quantity="zero_activation_units")
        dead[rate] = [
            float(rows.value[rows.epoch == epoch].sum()) / (3 * UNITS)
            for epoch in range(-1, EPOCHS)
        ]
        name = str(rate).replace("0.", "")
        numbers[f"dead_{name}"] = f"{100 * dead[rate][-1]:.0f}"
        numbers[f"accuracy_{name}"] = f"{accuracy(model, x_test, y_test):.2f}"
    errors = {
        "Glorot": error_signals("glorot_uniform"),
        "He": error_signals("he_uniform"),
    }
    for name, values in errors.items():
        factor = values[0] ** (1.0 / (DEPTH - 1))
        numbers[f"factor_{name.lower()}"] = f"{factor:.2f}"
        numbers[f"first_{name.lower()}"] = f"{values[0]:.1g}"
    return Measured(numbers, {"dead": dead, "errors": errors})


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for name, values in series["errors"].items():
        left.plot(range(1, DEPTH + 1), values, "o-", ms=3, label=name)
    left.set(
        yscale="log",
        xlabel="hidden layer",
        title="error signal over the last layer's",
        xticks=range(1, DEPTH + 1, 3),
    )
    left.legend(title="initializer")
    for rate, shares in series["dead"].items():
        right.plot(
            range(EPOCHS + 1), [100 * s for s in shares], label=f"{rate:g}"
        )
    right.set(xlabel="epochs trained", title="dead units, %", ylim=(0, None))
    right.legend(title="learning rate of Adam")
