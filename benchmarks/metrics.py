"""What one update of a metric costs, next to its peers and to the limit.

    KERAS_BACKEND=jax python benchmarks/metrics.py [--quick]

All run in turns in one process on one core: F1 of ours from class numbers,
Keras' F1 from one-hot labels (made beforehand), that of torchmetrics on torch
where it is installed, and one pass over the predictions that takes the maximum
of each row: whoever looks at every prediction cannot be faster. Each is
compiled as the backend's trainer would, and then called eagerly, as in a loop
of your own.
"""

import argparse
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable
from typing import Any

SIZES = [(256, 2), (256, 10), (256, 1000), (64, 50_000)]
# How many times as fast as Keras.
FASTER = {1000: 5.0, 50_000: 5.0}

if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-1:])

import keras
import numpy as np
from keras import ops
from results import Cells, keep
from rich.console import Console
from rich.table import Table

from keras_concepts.metrics import F1Score

BACKEND = keras.backend.backend()


def updaters(metric: Any, y_true: Any, y_pred: Any) -> dict[str, Any]:
    """One update, as the trainer of this backend does it, and eagerly."""
    metric.update_state(y_true, y_pred)  # builds it
    eager = lambda: metric.update_state(y_true, y_pred)  # noqa: E731
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(metric.update_state, jit_compile=True)
        graph = tf.function(metric.update_state)
        return {
            "XLA": lambda: compiled(y_true, y_pred),
            "graph": lambda: graph(y_true, y_pred),
            "eager": eager,
        }
    if BACKEND == "jax":
        import jax

        update = jax.jit(metric.stateless_update_state, donate_argnums=0)
        state = [[ops.copy(v.value) for v in metric.variables]]

        def run() -> None:
            state[0] = update(state[0], y_true, y_pred)
            jax.block_until_ready(state[0])

        def run_eagerly() -> None:
            metric.update_state(y_true, y_pred)
            jax.block_until_ready([v.value for v in metric.variables])

        return {"XLA": run, "eager": run_eagerly}
    return {"eager": eager}


def one_pass(y_pred: Any) -> Callable[[], Any]:
    if BACKEND == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(lambda x: tf.reduce_max(x, axis=-1))
        return lambda: compiled(y_pred)
    if BACKEND == "jax":
        import jax

        compiled = jax.jit(lambda x: x.max(axis=-1))
        return lambda: compiled(y_pred).block_until_ready()
    return lambda: y_pred.amax(dim=-1)


def contestants(rows: int, classes: int) -> dict[str, Callable[[], Any]]:
    random = np.random.default_rng(0)
    numbers = random.integers(0, classes, rows).astype("int32")
    y_pred = ops.convert_to_tensor(random.random((rows, classes), np.float32))
    y_true = ops.convert_to_tensor(numbers)
    one_hot = ops.one_hot(y_true, classes)
    found = {"one pass": one_pass(y_pred)}
    metrics = {
        "ours": (F1Score("macro"), y_true),
        "ours, one-hot": (F1Score("macro"), one_hot),
        "keras": (keras.metrics.F1Score("macro"), one_hot),
    }
    for name, (metric, labels) in metrics.items():
        for mode, run in updaters(metric, labels, y_pred).items():
            found[f"{name} {mode}"] = run
    # It counts in a matrix of all pairs of classes: 20 GB at 50,000.
    fits = classes <= 1000
    if BACKEND == "torch" and fits and importlib.util.find_spec("torchmetrics"):
        from torchmetrics.classification import MulticlassF1Score

        theirs = MulticlassF1Score(classes, validate_args=False)
        numbers_of_torch = y_true.long()
        found["torchmetrics eager"] = lambda: theirs.update(
            y_pred, numbers_of_torch
        )
    return found


def measure(
    runs: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, np.ndarray]:
    """Seconds of processor time of each run, round by round."""
    repeat = {}
    for name, run in runs.items():
        run()
        start = time.process_time()
        run()
        # Each turn lasts some milliseconds, so that the clock is fine enough.
        repeat[name] = max(1, int(5e-3 / (time.process_time() - start)))
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            for _ in range(repeat[name]):
                run()
            elapsed = time.process_time() - start
            seconds[name].append(elapsed / repeat[name])
    return {name: np.array(values) for name, values in seconds.items()}


def spread(ratios: np.ndarray) -> str:
    """Median and, in brackets, the quartiles."""
    low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return rf"{median:.2f} \[{low:.2f}, {high:.2f}]"


def cells(rows: int, classes: int, seconds: dict[str, np.ndarray]) -> Cells:
    """What docs/metrics.md shows: how many times as fast, in each mode."""
    found = {}
    for peer, column in (("keras", BACKEND), ("torchmetrics", "torchmetrics")):
        faster = [
            float(np.median(values / seconds[f"ours {mode}"]))
            for name, values in seconds.items()
            for mode in [name.removeprefix(f"{peer} ")]
            if mode != name
        ]
        if faster:
            found[column] = ", ".join(
                f"{x:.0f}" if x >= 10 else f"{x:.1f}" for x in faster
            )
    return {f"{rows} × {classes:,}": found}


def verdicts(classes: int, seconds: dict[str, np.ndarray]) -> list[str]:
    """How many times as fast as each peer, in each mode."""
    lines = []
    for name, values in seconds.items():
        if not name.startswith("ours"):
            continue
        ours, mode = name.rsplit(" ", 1)
        for peer in ("keras", "torchmetrics"):
            if f"{peer} {mode}" not in seconds:
                continue
            faster = float(np.median(seconds[f"{peer} {mode}"] / values))
            wanted = FASTER.get(classes, 1.0)
            lines.append(
                f"{classes} classes, {mode}: {ours} is {faster:.2f} times as "
                f"fast as {peer} "
                f"({'meets' if faster >= wanted else 'MISSES'} {wanted:g})"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="a few rounds")
    parser.add_argument("--keep", action="store_true", help="see results/")
    arguments = parser.parse_args()
    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    if BACKEND == "torch":
        import torch

        torch.set_num_threads(1)

    console = Console(width=100)
    console.print(
        f"{platform.system()} {platform.machine()}, one core, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, Keras "
        f"{keras.version()}, {BACKEND} {sys.modules[BACKEND].__version__}"
    )
    table = Table("rows", "classes", "", title=f"One update on {BACKEND}")
    for header in ("microseconds", "to one pass"):
        table.add_column(header, justify="right")
    lines = []
    for rows, classes in SIZES:
        runs = contestants(rows, classes)
        seconds = measure(runs, 5 if arguments.quick else arguments.rounds)
        for name, values in seconds.items():
            table.add_row(
                str(rows),
                str(classes),
                name,
                f"{1e6 * np.median(values):.0f}",
                spread(values / seconds["one pass"]),
            )
        table.add_section()
        lines.extend(verdicts(classes, seconds))
        if arguments.keep:
            keep("metrics", "updates", cells(rows, classes, seconds))
    console.print(table)
    console.print("Ratios: median [quartiles] of turns of a few milliseconds.")
    for line in lines:
        console.print(line, soft_wrap=True)


if __name__ == "__main__":
    main()
