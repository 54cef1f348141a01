"""Which units saturate?

    KERAS_BACKEND=jax python callbacks/which_units_saturate.py

The pixels are not scaled: 0 to 16. A tanh unit is saturated if its slope is
below 5 % of the steepest for more than 90 % of the digits: it passes back
almost no error signal. A high learning rate drives units there.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers, optimizers
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts import quantities as q
from keras_concepts.callbacks import SignalMonitor

UNITS, NAMES = 64, ["hidden_1", "hidden_2", "hidden_3"]
LOW, HIGH = RATES = [0.001, 0.03]


def main() -> None:
    epochs, out = parse()
    figure = Figure((9, 6), dpi=120, layout="constrained")
    rows = figure.subplots(len(RATES), len(NAMES), sharex=True, sharey=True)
    sentences, colours = [], ListedColormap(["0.92", "#d55e00"])
    epoch, unit = np.arange(epochs + 2) - 0.5, np.arange(UNITS + 1)
    for panels, rate in zip(rows, RATES, strict=True):
        saturated, right = train(rate, epochs)
        for axes, name, grid in zip(panels, NAMES, saturated, strict=True):
            order = np.argsort(-grid.sum(axis=1), kind="stable")
            axes.pcolormesh(epoch, unit, grid[order], cmap=colours, clim=(0, 1))
            axes.set(ylim=(UNITS, 0), yticks=unit[::16])
            axes.set_title(f"{name}, learning rate {rate}")
            axes.xaxis.get_major_locator().set_params(integer=True)
        ends = saturated.sum(axis=1)[:, [0, -1]]
        first, last = (", ".join(map(str, column)) for column in ends.T)
        text = f"from {first} to {last} at rate {rate}"
        sentences.append(f"{text}, accuracy {right:.0%}")
    figure.supxlabel("epoch (0: before training)")
    figure.supylabel("number of units (orange: saturated)")
    figure.savefig(picture := out / "which_units_saturate.png")
    print(f"Picture: {picture}\nSaturated by layer: {'; '.join(sentences)}.")


def train(rate: float, epochs: int) -> tuple[np.ndarray, float]:
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    hidden = [layers.Dense(UNITS, "tanh", name=name) for name in NAMES]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax")])
    model.build((None, 64))  # so that it is measured before training, too
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy")
    monitor = SignalMonitor((x[:500], y[:500]))
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[monitor])
    # Epoch -1 is before training.
    saturated = np.zeros((len(NAMES), UNITS, epochs + 1), bool)
    for series in monitor.recording.select("*/hidden_*", q.SATURATED_UNIT):
        layer = NAMES.index(series.owner.split("/")[-1])
        saturated[layer, series.index, series.epoch + 1] = True
    return saturated, np.mean(model.predict(x, verbose=0).argmax(axis=1) == y)


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Which units saturate?")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
