"""Are my updates too small, or too large?

    KERAS_BACKEND=jax python callbacks/are_my_updates_too_small.py

The effect of one step of Adam on a kernel, RMS change over RMS weight, at three
learning rates. A common guide is 1e-3, here with a factor of ten either way.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts import Recording
from keras_concepts import quantities as q
from keras_concepts.callbacks import GradientMonitor, TrainingDoctor

RATES, GUIDE = [1e-5, 1e-3, 3e-2], [1e-4, 1e-2]
SIZES = ["too small", "in the band", "too large"]


def main() -> None:
    epochs, out = parse()
    figure = Figure((11, 4), dpi=120, layout="constrained")
    panels, results = figure.subplots(1, len(RATES), sharey=True), []
    for axes, rate in zip(panels, RATES, strict=True):
        rows, right, named = train(rate, epochs)
        kernels = rows.select("*/kernel").owners
        update = [rows.select(k, q.UPDATE_RMS).value for k in kernels]
        weight = [rows.select(k, q.WEIGHT_RMS).value for k in kernels]
        ratios = np.divide(update, weight)
        size = SIZES[np.searchsorted(GUIDE, np.median(ratios))]
        text = f"{size} ({np.median(ratios):.1e}) at rate {rate:g}"
        results.append((right, size, f"{text} (the doctor names {named})"))
        axes.axhspan(*GUIDE, color="#009e73", alpha=0.2, lw=0, label="guide")
        axes.semilogy(ratios.T, lw=1, label=[k.split("/")[-2] for k in kernels])
        title = f"learning rate {rate:g}: {right:.0%} right"
        axes.set(title=title, xlabel="training step")
    panels[0].set_ylabel("RMS update / RMS weight")
    panels[0].legend(frameon=False)
    figure.savefig(picture := out / "are_my_updates_too_small.png")
    best, size, _ = max(results)
    updates = ", ".join(text for *_, text in results)
    text = f"Updates are {updates}; in the best run ({best:.0%}) {size}."
    print(f"Picture: {picture}\n{text}")


def train(rate: float, epochs: int) -> tuple[Recording, float, str]:
    """The recording, the accuracy on other digits, and the named rule."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    hidden = [layers.Dense(64, "relu", name=f"hidden_{i}") for i in (1, 2, 3)]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax", name="out")])
    adam = keras.optimizers.Adam(rate)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    monitor = GradientMonitor(max_samples=None)
    doctor = TrainingDoctor(sink=lambda text: None)
    watch = {"epochs": epochs, "callbacks": [monitor, doctor], "verbose": 0}
    log = model.fit(x / 16, y, validation_split=0.2, **watch).history
    named = next((f.rule for f in doctor.findings if not f.resolved), "nothing")
    return monitor.recording, log["val_accuracy"][-1], named


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Are updates too small?")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
