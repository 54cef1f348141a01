"""What a monitor adds to each of many short fits, in which steps are compiled.

    KERAS_BACKEND=jax python benchmarks/loops.py [--quick] [--keep]

One model is trained by calls of `fit` with 10 steps each: without a monitor,
with one monitor in all of them, and with a new one in each, which compiles the
measured step again. The three take turns in one process, each with a model of
its own. Medians of processor time, without the first `fit` of each.
"""

import argparse
import time
from typing import Any

import gradient_overhead as base

if __name__ == "__main__":
    base.limit_threads(1)

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

from keras_concepts.callbacks import GradientMonitor

STEPS, BATCH = 10, 32
ROWS = (
    "plain",
    "one `GradientMonitor` in all of them",
    "a new `GradientMonitor` in each",
)


def perceptron() -> Any:
    keras.utils.set_random_seed(0)
    hidden = [layers.Dense(32, "relu") for _ in range(6)]
    model = keras.Sequential([keras.Input((20,)), *hidden, layers.Dense(1)])
    model.compile("adam", "mse")
    return model


def measure(fits: int) -> dict[str, float]:
    """Median seconds of a `fit`, by row."""
    x = np.random.default_rng(0).normal(size=(STEPS * BATCH, 20))
    kept = GradientMonitor()
    monitors = dict(
        zip(
            ROWS,
            (list, lambda: [kept], lambda: [GradientMonitor()]),
            strict=True,
        )
    )
    models = {row: perceptron() for row in ROWS}
    seconds: dict[str, list[float]] = {row: [] for row in ROWS}
    for _ in range(1 + fits):
        for row in ROWS:
            callbacks = monitors[row]()
            start = time.process_time()
            models[row].fit(x, x[:, :1], BATCH, verbose=0, callbacks=callbacks)
            seconds[row].append(time.process_time() - start)
    return {row: float(np.median(s[1:])) for row, s in seconds.items()}


def main(quick: bool, keep: bool) -> None:
    found = measure(2 if quick else 9)
    table = Table("a `fit` of 10 steps", base.BACKEND)
    shown = {row: f"{1e3 * seconds:.0f} ms" for row, seconds in found.items()}
    for row, seconds in shown.items():
        table.add_row(row, seconds)
    Console(width=100).print(table)
    if keep:
        cells = {row: {base.BACKEND: shown[row]} for row in ROWS}
        base.keep("loops", "fits", cells)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    _ = parser.add_argument("--quick", action="store_true")
    _ = parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    main(given.quick, given.keep)
