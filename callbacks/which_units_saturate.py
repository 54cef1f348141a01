"""Which units saturate?

    KERAS_BACKEND=jax python callbacks/which_units_saturate.py

Somebody forgot to scale the pixels, which run from 0 to 16. A tanh unit is
saturated if its slope is below 5 % of the steepest for more than 90 % of the
digits: next to no error signal passes it. A high learning rate drives units
there. Put your own model and data into `train`.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers, optimizers
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts.callbacks import SignalMonitor

UNITS = 64
NAMES = ["hidden_1", "hidden_2", "hidden_3"]
RATES = [0.001, 0.03]


def main() -> None:
    epochs, out = parse()
    figure = Figure((9, 6), dpi=120, layout="constrained")
    rows = figure.subplots(len(RATES), len(NAMES), sharex=True, sharey=True)
    sentences = []
    for panels, rate in zip(rows, RATES, strict=True):
        saturated, right = train(rate, epochs)
        for axes, name, grid in zip(panels, NAMES, saturated, strict=True):
            order = np.argsort(-grid.sum(axis=1), kind="stable")
            colours = ListedColormap(["0.92", "#d55e00"])
            axes.imshow(grid[order], colours, aspect="auto", vmin=0, vmax=1)
            axes.set(title=f"{name}, rate {rate}", yticks=[])
            axes.xaxis.get_major_locator().set_params(integer=True)
        ends = saturated.sum(axis=1)[:, [0, -1]]
        changes = ", ".join(f"{before} → {after}" for before, after in ends)
        sentences.append(f"{changes} at rate {rate} ({right:.0%} right)")
    figure.supxlabel("epochs of training; a line a unit, orange if saturated")
    figure.savefig(picture := out / "which_units_saturate.png")
    print(f"Picture: {picture}\nSaturated units: {'; '.join(sentences)}.")


def train(rate: float, epochs: int) -> tuple[np.ndarray, float]:
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    hidden = [layers.Dense(UNITS, "tanh", name=name) for name in NAMES]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax")])
    model.compile(optimizers.Adam(rate), "sparse_categorical_crossentropy")
    monitor = SignalMonitor((x[:500], y[:500]))
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[monitor])

    steps = np.unique(
        monitor.recording.select(monitor="SignalMonitor").step
    )  # before, and after each epoch
    saturated = np.zeros((len(NAMES), UNITS, len(steps)), bool)
    for series in monitor.recording.select("*/hidden_*", "saturated_unit"):
        layer = NAMES.index(series.owner.split("/")[-1])
        time = np.searchsorted(steps, series.steps)
        saturated[layer, series.index, time] = True
    answers = model.predict(x, verbose=0).argmax(axis=1)
    return saturated, np.mean(answers == y)


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
