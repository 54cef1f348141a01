"""Which layer makes the gradient vanish?

    KERAS_BACKEND=jax python callbacks/which_layer_vanishes.py

A ReLU network in which someone left three sigmoids. On its way back through a
layer, a gradient is multiplied by the slope of the activation, so it shrinks
where the slope is small. Put your own model and data into `main`.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts.callbacks import GradientMonitor

LITTLE = 1 / 3  # layers that pass back a smaller share are named


def main() -> None:
    epochs, out = parse()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    kinds = ["relu"] * 3 + ["sigmoid"] * 3 + ["relu"] * 3
    hidden = [layers.Dense(64, k, name=f"{k}_{i}") for i, k in enumerate(kinds)]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax", name="out")])
    model.compile("adam", "sparse_categorical_crossentropy")
    monitor = GradientMonitor(max_samples=None)
    model.fit(x / 16, y, epochs=epochs, verbose=0, callbacks=[monitor])

    rows = monitor.recording.select(owner="*/kernel", quantity="gradient_rms")
    names = [path.split("/")[-2] for path in rows.owners]
    medians = {
        epoch: np.array([np.median(s.values) for s in rows.select(epoch=epoch)])
        for epoch in (epochs - 1, 0)
    }
    first = medians[0]
    passed = first[:-1] / first[1:]
    lossy = [i for i, share in enumerate(passed) if share < LITTLE]

    figure = Figure((9, 4.5), dpi=120, layout="constrained")
    axes = figure.subplots()
    for i in lossy:
        middle = np.sqrt(first[i] * first[i + 1])
        axes.axvspan(i, i + 1, color="#d55e00", alpha=0.2, lw=0)
        axes.text(i + 0.56, middle, f"×{passed[i]:.2f}", va="top")
    for epoch, rms in medians.items():
        colour = "0.6" if epoch else "#0072b2"
        axes.semilogy(names, rms, "o-", c=colour, label=f"epoch {epoch + 1}")
    axes.set_title("Back-propagation goes from right to left", loc="right")
    axes.set_ylabel("RMS gradient, median over the epoch")
    axes.legend(frameon=False)
    picture = out / "which_layer_vanishes.png"
    figure.savefig(picture)
    shares = [f"{names[i]} passes back {passed[i]:.2f}" for i in lossy]
    print(
        f"Picture: {picture}\nIn epoch 1 the first layer's gradient is "
        f"{first[0] / first[-1]:.1e} times the last layer's: "
        f"{', '.join(shares) or 'each layer passes back a third or more'}."
    )


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Which layer vanishes?")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
