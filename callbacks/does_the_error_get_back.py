"""Does the error signal get back to my first layer?

    KERAS_BACKEND=jax python callbacks/does_the_error_get_back.py

Back-propagation carries the error signal dL/da from each layer to the one
before it. Six sigmoid layers pass almost nothing back at first; the picture
shows where the signal is lost, and when it gets through. Put your own model and
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

DEPTH = 6
UNITS = 32


def main() -> None:
    epochs, out = parse()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x / 16, y, random_state=0)
    hidden = [
        layers.Dense(UNITS, "sigmoid", name=f"hidden_{i + 1}")
        for i in range(DEPTH)
    ]
    head = layers.Dense(10, "softmax", name="out")
    # With an input it is built, so TensorFlow too measures it before training.
    model = keras.Sequential([keras.Input((64,)), *hidden, head])
    model.compile(
        keras.optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    monitor = SignalMonitor(probe=(x[:500], y[:500]))
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[monitor])
    right = model.evaluate(x_test, y_test, verbose=0)[1]

    picture = out / "does_the_error_get_back.png"
    monitor.plot(picture)  # `monitor.summary()` prints the table
    share = monitor.recording.select("*/hidden_1", q.ERROR_ATTENUATION).value
    print(
        f"Picture: {picture}\nThe first layer's error signal is "
        f"{share[0]:.2g} times the last layer's before training and "
        f"{share[-1]:.2g} after it; {right:.0%} of new digits are recognized."
    )


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Does the error get back?")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
