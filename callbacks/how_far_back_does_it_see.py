"""How far back does my LSTM see?

    KERAS_BACKEND=jax python callbacks/how_far_back_does_it_see.py

An LSTM reads digits pixel by pixel, in 64 steps, and names them at the end. It
learns only from steps that the gradient gets back to. Put your own model and
data into `main`.
"""

import argparse
import pathlib

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from keras_concepts import quantities as q
from keras_concepts.callbacks import SignalMonitor
from keras_concepts.reports import plot_memory

STEPS = 64
UNITS = 32


def main() -> None:
    epochs, out = parse()
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, STEPS, 1) / 16
    x, x_test, y, y_test = train_test_split(x, y, random_state=0)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((STEPS, 1)),
            layers.LSTM(UNITS, name="lstm"),
            layers.Dense(10, "softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.003),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    monitor = SignalMonitor(probe=(x[:256], y[:256]))
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[monitor])
    right = model.evaluate(x_test, y_test, verbose=0)[1]

    picture = out / "how_far_back_does_it_see.png"
    plot_memory(monitor.recording).savefig(picture)
    gate = monitor.recording.select(quantity=q.FORGET_GATE_MEAN).value
    horizon = monitor.recording.select(quantity=q.MEMORY_HORIZON).value
    print(
        f"Picture: {picture}\nThe gradient gets {horizon[0]:.0f} of {STEPS} "
        f"steps back before training and {horizon[-1]:.0f} after it; the "
        f"forget gate, {gate[0]:.2f} on average, ends at {gate[-1]:.2f}, and "
        f"{right:.0%} of new digits are recognized."
    )


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="How far back does it see?")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
