"""How sure is my model, and does it notice what it has never seen?

    KERAS_BACKEND=jax python callbacks/how_sure_is_my_model.py

A network with dropout reads rotated digits, which it was not trained on.
`mc_predict` asks it many times with dropout on. The mutual information measures
how much the members of that ensemble disagree.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from scipy.ndimage import rotate
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import keras_concepts as kc

ANGLES = [0, 15, 30, 45, 60, 75, 90]


def main() -> None:
    epochs, out = parse()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, random_state=0)
    hidden = [layers.Dense(128, "relu"), layers.Dropout(0.5)]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=epochs, verbose=0)

    images = x_test.reshape(-1, 8, 8)
    right, confidence, unsure = [], [], []
    for angle in ANGLES:
        turned = rotate(images, angle, axes=(1, 2), reshape=False, order=1)
        turned = turned.reshape(-1, 64)
        once = model.predict(turned, verbose=0)
        many = kc.mc_predict(model, turned, samples=30, batch_size=512, seed=0)
        right.append(np.mean(once.argmax(axis=1) == y_test))
        confidence.append([p.max(axis=1).mean() for p in (once, many.mean)])
        unsure.append(many.mutual_information.mean())

    figure = Figure((9, 4), dpi=120, layout="constrained")
    left, other = figure.subplots(1, 2)
    left.plot(ANGLES, confidence, "^-", label=["one pass", "ensemble"])
    left.plot(ANGLES, right, "o--", color="0.3", label="accuracy of one pass")
    left.set(ylim=(0, 1.02), title="Mean confidence and accuracy")
    left.legend(frameon=False)
    other.plot(ANGLES, unsure, "^-", color="C1")
    other.set(ylim=(0, 1.05 * max(unsure)), title="Mutual information, in nats")
    for axes in (left, other):
        axes.set(xlabel="rotation of the digits, in degrees", xticks=ANGLES)
    figure.savefig(out / "how_sure_is_my_model.png")
    i = int(np.argmax(np.array(confidence)[:, 0] - right))
    print(
        f"Picture: {out / 'how_sure_is_my_model.png'}\n"
        f"Rotated by {ANGLES[i]} degrees, {right[i]:.0%} of the digits are "
        f"recognized; one pass is {confidence[i][0]:.0%} sure of its answers, "
        f"the ensemble {confidence[i][1]:.0%}, and its members disagree "
        f"{unsure[i] / unsure[0]:.1f} times as much as on upright digits."
    )


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="How sure is my model?")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
