"""What a sample of `mc_predict` costs beside a call of `predict`.

    KERAS_BACKEND=jax python benchmarks/mc_predict.py [--quick]

In one process, each `mc_predict` of some samples is followed by as many calls
of `predict` on the same model, batch size and rows, and the two are compared
pair by pair, so that load from elsewhere on the machine hits both. Both were
called once before. The seconds of that first `mc_predict`, which compiles,
stand beside.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from keras import layers

from keras_concepts import mc_predict

SAMPLES = 30
BATCH_SIZE = 32


def perceptron(rows):
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(256, "relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(256, "relu"),
            layers.Dropout(0.5),
            layers.Dense(10, "softmax"),
        ]
    )
    return model, np.random.default_rng(0).normal(size=(rows, 64))


def convolutional(rows):
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(32, 3, activation="relu"),
            layers.SpatialDropout2D(0.2),
            layers.Flatten(),
            layers.Dense(10, "softmax"),
        ]
    )
    return model, np.random.default_rng(0).normal(size=(rows, 28, 28, 1))


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(name, model, x, pairs):
    x = x.astype("float32")

    def predict():
        for _ in range(SAMPLES):
            model.predict(x, batch_size=BATCH_SIZE, verbose=0)

    def ours():
        return mc_predict(model, x, SAMPLES, BATCH_SIZE)

    first = seconds(ours)
    predict()
    ratios = []
    for _ in range(pairs):
        ratios.append(seconds(ours) / seconds(predict))
    ratios.sort()
    median = statistics.median(ratios)
    print(
        f"{name:13} {len(x):5} {first:8.2f} s  {median:6.2f}  "
        f"{ratios[0]:6.2f} to {ratios[-1]:.2f}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="half a minute")
    quick = parser.parse_args().quick
    print(f"{keras.backend.backend()}, {SAMPLES} samples, batches of 32")
    print("model          rows  first call   ratio  smallest to largest")
    for rows in (32, 1024) if quick else (32, 1024, 4096):
        for build in (perceptron, convolutional):
            pairs = 3 if quick else 7
            compare(build.__name__, *build(rows), pairs)


if __name__ == "__main__":
    main()
