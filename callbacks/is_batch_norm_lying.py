"""Is batch normalization lying at inference?

    KERAS_BACKEND=jax python callbacks/is_batch_norm_lying.py

After a few steps the moving averages still hold initial values: the evaluated
model is not the one that was trained. One pass over the data fixes that.
"""

import argparse
import pathlib

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

import keras_concepts as kc
from keras_concepts import quantities as q
from keras_concepts.callbacks import BatchNormShiftMonitor, TrainingDoctor


def main() -> None:
    epochs, out = parse()
    keras.utils.set_random_seed(0)
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = x[:1440], x[1440:], y[:1440], y[1440:]
    model = network()
    monitor = BatchNormShiftMonitor(probe=(x, y))
    # In such a short run, a time budget leaves no room for three checks.
    doctor = TrainingDoctor(probe=(x, y), time_budget=None, sink=str)  # silent
    model.fit(x, y, 480, epochs, verbose=0, callbacks=[monitor, doctor])
    monitor.plot(picture := out / "is_batch_norm_lying.png")
    in_training = accuracy(model, x_test, y_test, training=True)
    before = accuracy(model, x_test, y_test, training=False)
    kc.recalibrate_batch_norm(model, x, batch_size=480)
    after = accuracy(model, x_test, y_test, training=False)
    rows = monitor.recording.select("?*", q.BATCH_NORM_SHIFT, epochs - 1)
    shift = rows.value.max()
    share = monitor.recording.select(quantity=q.INITIAL_SHARE).value[-1]
    named = next((f.rule for f in doctor.findings if not f.resolved), "nothing")
    print(
        f"Picture: {picture}\nThe doctor names {named}. After "
        f"{3 * epochs} steps the moving statistics hold {share:.0%} of "
        f"their initial value and are off by {shift:.2g} σ: {before:.0%} right "
        f"at inference, {in_training:.0%} with the batch's own statistics, "
        f"{after:.0%} at inference after recalibration."
    )


def network() -> keras.Model:
    model = keras.Sequential()
    for _ in range(3):
        model.add(layers.Dense(64))
        model.add(layers.BatchNormalization())
        model.add(layers.ReLU())
    model.add(layers.Dense(10, "softmax"))
    adam = keras.optimizers.Adam(0.01)
    model.compile(adam, "sparse_categorical_crossentropy")
    return model


def accuracy(model: keras.Model, x, y, training: bool) -> float:
    with keras.StatelessScope():  # nothing is updated in it
        p = model(x, training=training)
    return float(np.mean(keras.ops.convert_to_numpy(p).argmax(axis=1) == y))


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Is BatchNorm lying?")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
