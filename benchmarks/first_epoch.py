"""What monitors add to the first epoch, in which a step is compiled.

    KERAS_BACKEND=jax python benchmarks/first_epoch.py [--quick]

For each model, first epochs of 40 steps with and without monitors take turns
in one process, each with a new model. A plain epoch traces and compiles one
step. A watched one compiles a step that measures as well and, if no monitor
looks at every step, the plain one too: 2 is the time of one more compilation.
Processor time is compared, for the clock counts the waiting for other programs.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import gradient_overhead as base

if __name__ == "__main__":
    base.limit_threads(1)

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

from keras_concepts import callbacks as c

STEPS, BATCH = 40, 2
# As docs/cost.md names them.
NAMES = {"mlp": "perceptron", "transformer": "transformer"}
ROWS = {"plain": "plain, in seconds", "all four": "all four"}
MONITORS: dict[str, Callable[[], list[Any]]] = {
    "GradientMonitor": lambda: [c.GradientMonitor()],
    "PenaltyReporter": lambda: [c.PenaltyReporter()],
    "BatchNormShiftMonitor": lambda: [c.BatchNormShiftMonitor()],
    "NonFiniteGuard": lambda: [c.NonFiniteGuard()],
    "all four": lambda: [
        c.GradientMonitor(),
        c.PenaltyReporter(),
        c.BatchNormShiftMonitor(),
        c.NonFiniteGuard(),
    ],
}


def mlp() -> Any:
    hidden = []
    for _ in range(3):
        hidden += [
            layers.Dense(64, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    return keras.Sequential(
        [keras.Input((20,)), *hidden, layers.Dense(10, "softmax")]
    )


def resnet50() -> Any:
    return keras.applications.ResNet50(
        weights=None, input_shape=(32, 32, 3), classes=10
    )


def transformer() -> Any:
    inputs = x = keras.Input((16, 32))
    for _ in range(2):
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(y, y)])
        y = layers.BatchNormalization()(x)
        y = layers.Dense(32)(layers.Dense(128, "gelu")(y))
        x = layers.Add()([x, y])
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(10, "softmax")(x))


MODELS = {"mlp": mlp, "transformer": transformer, "resnet50": resnet50}


def first_epoch(build: Callable[[], Any], callbacks: list[Any]) -> float:
    """Processor seconds of the first epoch of a new model."""
    keras.utils.set_random_seed(0)
    model = build()
    model.compile("sgd", "sparse_categorical_crossentropy")
    random = np.random.default_rng(0)
    x = random.random((STEPS * BATCH, *model.input_shape[1:]), np.float32)
    y = random.integers(0, 10, len(x))
    start = time.process_time()
    model.fit(x, y, BATCH, verbose=0, callbacks=callbacks)
    return time.process_time() - start


def main(arguments: argparse.Namespace) -> None:
    quick = arguments.quick
    rounds = arguments.rounds or (1 if quick else 2)
    console = Console(width=100)
    base.print_facts(console, arguments.threads)
    table = Table("model", "watched by", title=f"First epoch on {base.BACKEND}")
    for header in ("processor s", "times a plain one"):
        table.add_column(header, justify="right")
    _ = first_epoch(mlp, [])  # what a process does once
    for name in ["mlp"] if quick else arguments.models or list(MODELS):
        build = MODELS[name]
        before = first_epoch(build, [])
        table.add_row(name, "plain", f"{before:.1f}", "1")
        shown = {"plain": f"{before:.1f}"}
        for watched_by, make in MONITORS.items():
            ratios, seconds = [], []
            for _ in range(rounds):
                seconds.append(first_epoch(build, make()))
                after = first_epoch(build, [])
                ratios.append(2 * seconds[-1] / (before + after))
                before = after
            shown[watched_by] = f"{np.median(ratios):.1f}"
            table.add_row(
                name,
                watched_by,
                f"{np.median(seconds):.1f}",
                base.spread(np.array(ratios)),
            )
        table.add_section()
        if arguments.keep and name in NAMES:
            column = f"{base.BACKEND}: {NAMES[name]}"
            cells = {
                ROWS.get(w, f"`{w}()`"): {column: t} for w, t in shown.items()
            }
            base.keep("first_epoch", "first_epochs", cells)
    console.print(table)


if __name__ == "__main__":
    main(base.parse_arguments(__doc__, tuple(MODELS)))
