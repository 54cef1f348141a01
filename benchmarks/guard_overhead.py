"""What `NonFiniteGuard` costs: whole epochs of `fit`, with and without.

    KERAS_BACKEND=jax python benchmarks/guard_overhead.py [--quick]

Models and method are those of `gradient_overhead.py`: each watched epoch is
compared with the plain ones before and after it.
"""

import gradient_overhead as base

if __name__ == "__main__":
    base.limit_threads(base.parse_arguments().threads)
    base.keep_freed_memory()

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_concepts.callbacks import NonFiniteGuard


def main(arguments: argparse.Namespace) -> None:
    base.flush_denormals()
    models = arguments.models or (
        ["mlp"] if arguments.quick else list(base.CASES)
    )
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    started = time.perf_counter()
    console = Console(width=100)
    base.print_facts(console, arguments.threads)
    table = Table("model", "watched by", title=f"fit on {base.BACKEND}")
    for header in ("epochs", "ms an epoch", "clock", "processor", "1st, +s"):
        table.add_column(header, justify="right")
    for name in models:
        case = base.CASES[name]
        if arguments.quick:
            case = case._replace(steps=40, batch_size=32)
        random = np.random.default_rng(0)
        count = case.steps * case.batch_size
        x = case.inputs(random, count)
        y = random.integers(0, case.classes, count)
        data = base.data_arguments(x, y, case.batch_size)
        results = {}
        for way, callbacks in (
            ("plain again", []),
            ("guard", [NonFiniteGuard()]),
            ("before_update", [NonFiniteGuard(before_update=True)]),
        ):
            plain, watched = base.side_by_side(case, data, callbacks, rounds)
            ratios = watched[1:] / ((plain[1:-1] + plain[2:]) / 2)
            first = watched[0, 0] - plain[0, 0] + np.median(watched[1:, 0])
            results[way] = base.Result(first, watched[1:], ratios)
        base.add_rows(table, name, results)
    console.print(table)
    console.print(
        "Clock and processor time are ratios to the plain epochs before and "
        "after: median [smallest, largest]. 1st: what the first epoch took "
        "longer than a plain first one.",
        markup=False,
    )
    console.print(f"{time.perf_counter() - started:.0f} s", highlight=False)


if __name__ == "__main__":
    main(base.parse_arguments())
