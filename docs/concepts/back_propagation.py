"""How the error signal shrinks on its way back, layer by layer."""

from typing import Any

import numpy as np

import keras_concepts as kc
from digits import compiled, digits, stack
from measured import Measured

DEPTH, SEEDS = 20, 5
ACTIVATIONS = ("sigmoid", "tanh", "relu")


def measure() -> Measured:
    x, y, _, _ = digits()
    signals, factors = {}, {}
    for activation in ACTIVATIONS:
        found = []
        for seed in range(SEEDS):
            model = compiled(stack(activation, DEPTH, seed=seed))
            monitor = kc.callbacks.SignalMonitor(probe=(x[:256], y[:256]))
            model.fit(x[:64], y[:64], verbose=0, callbacks=[monitor])
            before = monitor.recording.select("*/hidden_*", "error_rms")
            found.append(before.value[before.epoch == -1])
        signals[activation] = np.exp(np.mean(np.log(found), axis=0))
        shrinks = np.log(signals[activation][0] / signals[activation][-1])
        factors[activation] = float(np.exp(shrinks / (DEPTH - 1)))
    numbers = {
        f"{key}_factor": f"{value:.2f}" for key, value in factors.items()
    }
    for key, value in signals.items():
        numbers[f"{key}_ratio"] = f"{value[0] / value[-1]:.0e}"
    return Measured(numbers, signals)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(
            range(1, DEPTH + 1), values / values[-1], "o-", ms=3, label=name
        )
    axes.set(
        yscale="log",
        xlabel="hidden layer (1 is next to the input)",
        title="error signal of each layer over the last's, before training",
        xticks=range(1, DEPTH + 1, 3),
    )
    axes.legend()
