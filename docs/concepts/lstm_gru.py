"""How far back the gradient of a recurrent layer reaches."""

from typing import Any

import keras
import numpy as np
from keras import layers

from keras_concepts.callbacks import SignalMonitor
from keras_concepts.initializers import Chrono
from measured import Measured

STEPS, UNITS = 60, 32


def recurrent_layers() -> dict[str, Any]:
    return {
        "SimpleRNN": layers.SimpleRNN(UNITS),
        "LSTM": layers.LSTM(UNITS),
        "GRU": layers.GRU(UNITS),
        "LSTM with Chrono": layers.LSTM(
            UNITS, bias_initializer=Chrono(STEPS), unit_forget_bias=False
        ),
    }


def measure() -> Measured:
    random = np.random.default_rng(0)
    x = random.normal(size=(64, STEPS, 4)).astype("float32")
    y = (x[:, 0, 0] > 0).astype("float32")[:, None]
    curves, numbers = {}, {}
    for name in recurrent_layers():
        keras.utils.set_random_seed(0)
        layer = recurrent_layers()[name]
        model = keras.Sequential(
            [keras.Input((STEPS, 4)), layer, layers.Dense(1, "sigmoid")]
        )
        model.compile("adam", "binary_crossentropy")
        monitor = SignalMonitor(probe=(x, y))
        model.fit(x[:8], y[:8], verbose=0, callbacks=[monitor])
        rows = monitor.recording.select(quantity="state_error_rms")
        before = rows.epoch == -1
        order = np.argsort(rows.index[before])
        curves[name] = rows.value[before][order]
        curves[name] = curves[name] / curves[name][0]
        key = name.lower().replace(" ", "_")
        numbers[key] = f"{curves[name][-1]:.0e}"
    return Measured(numbers, curves)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(range(len(values)), values, label=name)
    axes.set(
        yscale="log",
        xlabel="steps back from the end of the sequence",
        title="gradient of the state over that at the last step, untrained",
        ylim=(1e-13, 10.0),
    )
    axes.legend()
