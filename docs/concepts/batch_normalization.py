"""The gap between training and inference that batch normalization opens."""

from typing import Any

import keras
from keras import layers

import keras_concepts as kc
from digits import accuracy, compiled, digits
from keras_concepts.callbacks import BatchNormShiftMonitor
from measured import Measured

EPOCHS, PROBE_ROWS = 8, 256
SLOW, FAST = MOMENTUMS = (0.99, 0.9)


def network(momentum: float) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden: list[Any] = []
    for _ in range(3):
        hidden += [
            layers.Dense(64, use_bias=False),
            layers.BatchNormalization(momentum=momentum),
            layers.ReLU(),
        ]
    head = layers.Dense(10, "softmax")
    return compiled(keras.Sequential([keras.Input((64,)), *hidden, head]))


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    curves, numbers = {}, {"steps": f"{-(-len(x) // 64)}"}
    for momentum in MOMENTUMS:
        model = network(momentum)
        monitor = BatchNormShiftMonitor(probe=(x[:PROBE_ROWS], y[:PROBE_ROWS]))
        model.fit(x, y, 64, epochs=EPOCHS, verbose=0, callbacks=[monitor])
        rows = [
            monitor.recording.select("", quantity).value
            for quantity in ("training_loss", "inference_loss")
        ]
        curves[momentum] = rows
        key = f"{round(100 * momentum)}"
        numbers[f"training_{key}"] = f"{rows[0][0]:.2f}"
        numbers[f"inference_{key}"] = f"{rows[1][0]:.2f}"
        if momentum == MOMENTUMS[0]:
            first = network(momentum)
            first.fit(x, y, 64, epochs=1, verbose=0)
            share = momentum ** (-(-len(x) // 64))
            numbers["initial"] = f"{100 * share:.0f}"
            numbers["before"] = f"{accuracy(first, x_test, y_test):.2f}"
            kc.recalibrate_batch_norm(first, x)
            numbers["after"] = f"{accuracy(first, x_test, y_test):.2f}"
    return Measured(numbers, curves)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for n, (momentum, (training, inference)) in enumerate(series.items()):
        epochs = range(1, len(training) + 1)
        axes.plot(
            epochs,
            training,
            f"C{n}:",
            label=f"{momentum}, statistics of the batch",
        )
        axes.plot(
            epochs, inference, f"C{n}o-", label=f"{momentum}, moving statistics"
        )
    axes.set(
        yscale="log",
        xlabel="epoch",
        title=f"loss of the same {PROBE_ROWS} digits in training mode and at "
        "inference",
    )
    figure.legend(title="momentum", loc="outside right upper")
