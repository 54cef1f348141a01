"""When did ReLU units die, and did any revive?

    KERAS_BACKEND=jax python callbacks/when_did_units_die.py

The learning rate is too high on purpose. A unit is dead in an epoch if its
gradient was exactly zero in every step, for example because it is active for no
digit. It may revive when the layers before it change its input.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers, optimizers
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts.callbacks import GradientMonitor

UNITS = 64
NAMES = [f"hidden_{i}" for i in (1, 2, 3, 4)]


def main() -> None:
    epochs, out = parse()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    hidden = [layers.Dense(UNITS, "relu", name=name) for name in NAMES]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax")])
    model.compile(optimizers.Adam(0.03), "sparse_categorical_crossentropy")
    monitor = GradientMonitor(max_samples=None)  # so that no step is missed
    model.fit(x / 16, y, epochs=epochs, verbose=0, callbacks=[monitor])

    dead = np.zeros((len(NAMES), UNITS, epochs), bool)
    for series in monitor.recording.select("*/hidden_*", "zero_gradient_unit"):
        layer = NAMES.index(series.owner.split("/")[-1])
        dead[layer, series.index, series.epoch] = True
    figure = Figure((11, 4), dpi=120, layout="constrained")
    colours = {"cmap": ListedColormap(["0.92", "#d55e00"]), "clim": (0, 1)}
    epoch, unit = np.arange(epochs + 1) + 0.5, np.arange(UNITS + 1)
    panels = figure.subplots(1, len(NAMES), sharey=True)
    for axes, name, grid in zip(panels, NAMES, dead, strict=True):
        order = np.argsort(-grid.sum(axis=1), kind="stable")
        axes.pcolormesh(epoch, unit, grid[order], **colours)
        axes.set(xlabel="epoch", ylim=(UNITS, 0), yticks=unit[::16])
        axes.set_title(f"{name}\n{grid[:, -1].sum()} dead at the end")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("number of units (orange: dead)")
    figure.savefig(out / "when_did_units_die.png")
    print(f"Picture: {out / 'when_did_units_die.png'}\n{conclude(dead)}")


def conclude(dead: np.ndarray) -> str:
    if not dead.any():
        return "No unit died."
    before = np.pad(dead, ((0, 0), (0, 0), (1, 0)))[..., :-1]
    deaths = (dead & ~before).sum(axis=1)
    layer, epoch = np.unravel_index(deaths.argmax(), deaths.shape)
    back = (before & ~dead).any(axis=2).sum(axis=1)
    counts = zip(back, dead.any(axis=2).sum(axis=1), NAMES, strict=True)
    returned = ", ".join(f"{b} of {n} in {name}" for b, n, name in counts if n)
    most = f"epoch {epoch + 1} in {NAMES[layer]} ({deaths.max()} of {UNITS})"
    return f"Most units died in {most}; of all dead units, {returned} revived."


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="When did ReLU units die?")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
