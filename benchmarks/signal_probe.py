"""What one measurement of `SignalMonitor` costs, in training steps.

    KERAS_BACKEND=jax python benchmarks/signal_probe.py [--quick]

A probe is one pass forward and back on a batch and the reduction of all
signals to a few numbers on the host. It is compared with a step of `fit` of the
same model on batches of the same size: in one process, some probes are followed
by an epoch of as many steps, pair by pair, so that load from elsewhere on the
machine hits both. The seconds of the first probe, which traces and compiles,
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
from results import keep

from keras_concepts.instruments.signals.forward_probe import ForwardProbe
from keras_concepts.instruments.signals.signal_summary import SignalSummary

BATCH_SIZE = 256
# As docs/cost.md names them.
NAMES = {
    "perceptron": "fully connected, 12 layers",
    "convolutional": "convolutional, 12 layers with weights",
    "recurrent": "GRU and LSTM, 50 steps",
}


def perceptron():
    """Twelve layers."""
    hidden = [layers.Dense(256, "relu") for _ in range(11)]
    return [keras.Input((64,)), *hidden, layers.Dense(10, "softmax")]


def convolutional():
    """Twelve layers with weights."""
    blocks = []
    for filters, strides in ((16, 1), (16, 2), (32, 1), (32, 2), (64, 1)):
        blocks += [
            layers.Conv2D(filters, 3, strides, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    return [
        keras.Input((16, 16, 3)),
        *blocks,
        layers.GlobalAveragePooling2D(),
        layers.Dense(64, "relu"),
        layers.Dense(10, "softmax"),
    ]


def recurrent():
    return [
        keras.Input((50, 16)),
        layers.GRU(64, return_sequences=True),
        layers.LSTM(64),
        layers.Dense(10, "softmax"),
    ]


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(build, steps, pairs):
    model = keras.Sequential(build())
    model.compile("adam", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    shape = (steps * BATCH_SIZE, *model.input_shape[1:])
    x = random.normal(size=shape).astype("float32")
    y = random.integers(10, size=len(x)).astype("int32")
    summary = SignalSummary()

    batch = x[:BATCH_SIZE], y[:BATCH_SIZE]
    probe = ForwardProbe(model, *batch, reduce=summary.reduce)

    def measure():
        summary.rows(probe())

    def probes():
        for _ in range(steps):
            measure()

    def epoch():
        model.fit(x, y, batch_size=BATCH_SIZE, verbose=0)

    first = seconds(measure)
    epoch()
    epoch()
    ratios, durations = [], []
    for _ in range(pairs):
        duration = seconds(epoch)
        ratios.append(seconds(probes) / duration)
        durations.append(duration / steps)
    ratios.sort()
    print(
        f"{build.__name__:13} {1e3 * statistics.median(durations):8.1f} ms "
        f"{first:8.1f} s {statistics.median(ratios):8.2f}  "
        f"{ratios[0]:5.2f} to {ratios[-1]:.2f}",
        flush=True,
    )
    return statistics.median(ratios)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--keep", action="store_true", help="see results/")
    options = parser.parse_args()
    quick = options.quick
    print(f"{keras.backend.backend()}, batches of {BATCH_SIZE}")
    print(
        "model             step  first probe  probe/step  smallest to largest"
    )
    for build in (perceptron, convolutional, recurrent):
        ratio = compare(
            build, steps=10 if quick else 30, pairs=5 if quick else 15
        )
        if options.keep:
            backend = keras.backend.backend()
            cells = {NAMES[build.__name__]: {backend: f"{ratio:.1f}"}}
            keep("signal_probe", "probes", cells)


if __name__ == "__main__":
    main()
