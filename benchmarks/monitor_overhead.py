"""What each monitor costs: whole epochs of `fit`, with and without.

    KERAS_BACKEND=jax python benchmarks/monitor_overhead.py [--quick]

Method and plain training are those of `gradient_overhead.py`: each watched
epoch is compared with the plain ones before and after it. The network is fully
connected, with batch normalization and L2, so that each monitor has something
to see.
"""

import gradient_overhead as base

if __name__ == "__main__":
    base.limit_threads(base.parse_arguments(__doc__, ()).threads)
    base.keep_freed_memory()

import argparse
import time
from typing import Any

import keras
import numpy as np
from keras import layers
from rich.console import Console
from rich.table import Table

from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
)

# As docs/cost.md names them.
WAYS = {
    "GradientMonitor": "`GradientMonitor()`, 32 steps",
    "PenaltyReporter": "`PenaltyReporter()`, every step",
    "  of 32 steps": "`PenaltyReporter(max_samples=32)`",
    "BatchNormShiftMonitor": "`BatchNormShiftMonitor()`, 32 steps",
    "  with a probe": "`BatchNormShiftMonitor(probe)`",
    "NonFiniteGuard": "`NonFiniteGuard()`, every step",
    "  before_update": "`NonFiniteGuard(before_update=True)`",
    "all four": "`GradientMonitor()`, `PenaltyReporter()`, "
    "`BatchNormShiftMonitor()` and `NonFiniteGuard()` together",
}


def network() -> list[Any]:
    hidden = []
    for width in (512, 512, 256):
        hidden += [
            layers.Dense(width, use_bias=False, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    return [keras.Input((784,)), *hidden, layers.Dense(10, "softmax")]


def main(arguments: argparse.Namespace) -> None:
    base.flush_denormals()
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    started = time.perf_counter()
    console = Console(width=120)
    base.print_facts(console, arguments.threads)
    case = base.CASES["mlp"]._replace(build=network)
    if arguments.quick:
        case = case._replace(steps=40, batch_size=32)
    random = np.random.default_rng(0)
    count = case.steps * case.batch_size
    x = case.inputs(random, count)
    y = random.integers(0, case.classes, count)
    data = base.data_arguments(x, y, case.batch_size)
    table = Table("model", "watched by", title=f"fit on {base.BACKEND}")
    for header in ("epochs", "ms an epoch", "clock", "processor", "1st, +s"):
        table.add_column(header, justify="right")
    probe = x[: case.batch_size], y[: case.batch_size]
    results = {}
    for way, callbacks in {
        "plain again": [],
        "GradientMonitor": [GradientMonitor()],
        "PenaltyReporter": [PenaltyReporter()],
        "  of 32 steps": [PenaltyReporter(max_samples=32)],
        "BatchNormShiftMonitor": [BatchNormShiftMonitor()],
        "  with a probe": [BatchNormShiftMonitor(probe)],
        "NonFiniteGuard": [NonFiniteGuard()],
        "  before_update": [NonFiniteGuard(before_update=True)],
        "all four": [
            GradientMonitor(),
            PenaltyReporter(),
            BatchNormShiftMonitor(),
            NonFiniteGuard(),
        ],
    }.items():
        plain, watched = base.side_by_side(case, data, callbacks, rounds)
        ratios = watched[1:] / ((plain[1:-1] + plain[2:]) / 2)
        first = watched[0, 0] - plain[0, 0] + np.median(watched[1:, 0])
        results[way] = base.Result(first, watched[1:], ratios)
    base.add_rows(table, "mlp", results)
    if arguments.keep:
        cells = {
            WAYS[way]: {
                f"{base.BACKEND}, epoch": f"{np.median(r.ratios[:, 1]):.2f}",
                f"{base.BACKEND}, first epoch": "+ "
                f"{r.first - np.median(r.seconds[:, 0]):.1f}",
            }
            for way, r in results.items()
            if way in WAYS
        }
        base.keep("monitor_overhead", "monitors", cells)
    console.print(table)
    console.print(
        "Clock and processor time are ratios to the plain epochs before and "
        "after: median [smallest, largest]. 1st: what the first epoch took "
        "longer than a plain first one.",
        markup=False,
    )
    console.print(f"{time.perf_counter() - started:.0f} s", highlight=False)


if __name__ == "__main__":
    main(base.parse_arguments(__doc__, ()))
