"""How much of my loss is penalty?

    KERAS_BACKEND=jax python callbacks/how_much_of_my_loss_is_penalty.py

Three strengths of L2. A penalty that has won is small, for the weights are: so
look at its pull, too, the norm of its gradient over that of the data's.
"""

import argparse
import pathlib

import keras
from keras import layers, regularizers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts import Recording
from keras_concepts.callbacks import PenaltyReporter

STRENGTHS = [1e-5, 1e-3, 1e-1]


def main() -> None:
    epochs, out = parse()
    figure = Figure((11, 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(STRENGTHS))
    results = []
    for axes, strength in zip(panels, STRENGTHS, strict=True):
        rows, right = train(strength, epochs)
        parts = [rows.select("", q).value for q in ("data_loss", "penalty")]
        share = rows.select("", "penalty_share").value[-1]
        first = rows.select("*/hidden_1/kernel")
        pulls = [f"{of}_gradient_norm" for of in ("penalty", "data")]
        pull, rest = (first.select(quantity=q).value[-1] for q in pulls)
        text = f"{share:.1%} (pull {pull / rest:.2g}, {right:.0%} right)"
        results.append(f"{text} at L2 {strength:g}")
        axes.stackplot(range(epochs), parts, colors=["0.8", "#d55e00"])
        axes.set_title(
            f"L2 {strength:g}: penalty {share:.0%}, {right:.0%} right"
        )
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("loss: data in grey, penalty in orange")
    figure.savefig(out / "how_much_of_my_loss_is_penalty.png")
    print(f"Picture: {out / 'how_much_of_my_loss_is_penalty.png'}")
    print(f"In the end the penalty is {', '.join(results)} of the loss.")


def train(strength: float, epochs: int) -> tuple[Recording, float]:
    """What was recorded, and the accuracy on digits that were held out."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    l2 = {"kernel_regularizer": regularizers.L2(strength)}
    hidden = [
        layers.Dense(64, "relu", name=f"hidden_{i}", **l2) for i in (1, 2)
    ]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax", **l2)])
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    reporter = PenaltyReporter()
    watch = {"epochs": epochs, "callbacks": [reporter], "verbose": 0}
    log = model.fit(x / 16, y, validation_split=0.2, **watch).history
    return reporter.recording, log["val_accuracy"][-1]


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="How much is penalty?")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
