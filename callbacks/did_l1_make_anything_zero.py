"""Did L1 make anything exactly zero?

    KERAS_BACKEND=jax python callbacks/did_l1_make_anything_zero.py

An L1 regularizer pulls each weight towards zero and past it; the proximal step
of the same strength stops there. The picture has the sizes of all weights.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers, optimizers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

import keras_concepts as kc
from keras_concepts.callbacks import PenaltyReporter

WAYS = {
    "L1 regularizer": {"kernel_regularizer": kc.regularizers.L1(1e-3)},
    "proximal step": {"kernel_constraint": kc.constraints.SoftThreshold(1e-3)},
}


def main() -> None:
    epochs, out = parse()
    figure = Figure((10, 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(WAYS), sharey=True)
    texts = []
    for axes, (way, arguments) in zip(panels, WAYS.items(), strict=True):
        model, share = train(arguments, epochs)
        zeros = kc.sparsity(model).total
        kernels = [w.ravel() for w in model.get_weights() if w.ndim > 1]
        sizes = np.abs(np.concatenate(kernels))
        bins = np.logspace(-8, 0, 49)
        axes.hist(sizes[sizes > 0], bins, color="#0072b2")
        axes.bar(2e-9, zeros.zeros, 2e-9, color="#d55e00", label="exactly 0")
        axes.set(xscale="log", xlabel="size of the weight")
        axes.set_title(f"{way}: {zeros.zeros} of {zeros.size} exactly 0")
        text = f"{zeros.share:.1%} of the weights exactly zero"
        texts.append(f"{text} (penalties are {share:.0%} of its loss)")
    panels[0].set_ylabel("number of weights")
    panels[0].legend(frameon=False)
    figure.savefig(out / "did_l1_make_anything_zero.png")
    print(f"Picture: {out / 'did_l1_make_anything_zero.png'}")
    regularizer, step = texts
    print(f"The L1 regularizer made {regularizer}, the proximal step {step}.")


def train(arguments: dict, epochs: int) -> tuple[keras.Model, float]:
    """The model, and the share of penalties in the loss of the last epoch."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    hidden = [layers.Dense(64, "relu", **arguments) for _ in range(2)]
    output = layers.Dense(10, "softmax", **arguments)
    model = keras.Sequential([*hidden, output])
    model.compile(optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    watch = {"callbacks": [PenaltyReporter()], "verbose": 0}
    log = model.fit(x / 16, y, epochs=epochs, **watch).history
    return model, log["penalty_share"][-1]


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Did L1 make zeros?")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
