"""How much of my loss is penalty?

    KERAS_BACKEND=jax python callbacks/how_much_of_my_loss_is_penalty.py

Three strengths of L2. A dominant penalty may be small, because weights are. So
look at its pull as well: the norm of its gradient over that of the data loss.
"""

import argparse
import pathlib

import keras
from keras import layers, regularizers
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from keras_concepts import Recording
from keras_concepts import quantities as q
from keras_concepts.callbacks import PenaltyReporter, TrainingDoctor

STRENGTHS = [1e-5, 1e-3, 1e-1]
PARTS = [q.DATA_LOSS, q.PENALTY, q.PENALTY_SHARE]


def main() -> None:
    epochs, out = parse()
    figure = Figure((11, 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, len(STRENGTHS), sharey=True)
    results = []
    for axes, strength in zip(panels, STRENGTHS, strict=True):
        rows, right, named = train(strength, epochs)
        data, penalty, share = (rows.select("", part).value for part in PARTS)
        first = rows.select("*/hidden_1/kernel")
        pull = first.select(quantity=q.PENALTY_GRADIENT_NORM).value[-1]
        pull /= first.select(quantity=q.DATA_GRADIENT_NORM).value[-1]
        text = f"L2 {strength:g}: {share[-1]:.1%} of the loss, pull {pull:.2g}"
        results.append(f"{text}, {right:.0%} right, the doctor names {named}")
        x = range(1, epochs + 1)
        axes.bar(x, data, color="0.75", label="data")
        axes.bar(x, penalty, bottom=data, color="#d55e00", label="penalty")
        title = f"L2 {strength:g}: {share[-1]:.1%} penalty, {right:.0%} right"
        axes.set(title=title, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel("loss")
    panels[0].legend(frameon=False)
    figure.savefig(picture := out / "how_much_of_my_loss_is_penalty.png")
    print(f"Picture: {picture}\nPenalty at the end: {'; '.join(results)}.")


def train(strength: float, epochs: int) -> tuple[Recording, float, str]:
    """The recording, the accuracy on other digits, and the named rule."""
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    l2 = {"kernel_regularizer": regularizers.L2(strength)}
    names = ("hidden_1", "hidden_2")
    hidden = [layers.Dense(64, "relu", name=name, **l2) for name in names]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax", **l2)])
    loss = "sparse_categorical_crossentropy"
    model.compile("adam", loss, metrics=["accuracy"])
    monitors = PenaltyReporter(), TrainingDoctor(sink=lambda text: None)
    watch = {"epochs": epochs, "callbacks": [*monitors], "verbose": 0}
    log = model.fit(x / 16, y, validation_split=0.2, **watch).history
    found = (f.rule for f in monitors[1].findings if not f.resolved)
    right = log["val_accuracy"][-1]
    return monitors[0].recording, right, next(found, "nothing")


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
