"""How cost and memory grow with steps, variables, parameters and classes.

    KERAS_BACKEND=torch python benchmarks/scaling.py [--quick]

Each line is one measure at several sizes, and the exponent that fits it: 1
means that it doubles with the size, 0 that it does not grow. Epochs and
variables are those of a recording that is filled as the training doctor fills
it, without Keras, each size in a process of its own: 10,000 steps an epoch, of
which 32 are measured, and a look at all layers and a verdict after each epoch.
The others are real: processor time of the last of three epochs of `fit`, plain
and with `GradientMonitor`, and of one update and one result of a metric.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from keras_concepts import quantities as q
from keras_concepts._recording.runs import forget
from keras_concepts.recording import Recording
from keras_concepts.rules.judge import Judge

STEPS, SAMPLES = 10_000, 32
OF_STEPS = (
    q.GRADIENT_RMS,
    q.GRADIENT_MAX,
    q.GRADIENT_NONFINITE,
    q.WEIGHT_RMS,
    q.UPDATE_RMS,
)
OF_LOOKS = q.EPOCH_WEIGHT_RMS, q.EPOCH_UPDATE_RMS, q.DISTANCE_RMS
Results = dict[str, list[float]]


def simulate(epochs: int, variables: int, path: str) -> dict[str, float]:
    """Records and judges a run; what that costs at its end."""
    random = np.random.default_rng(0)
    facts = [
        {
            "path": f"net/block_{i}/kernel",
            "layer": f"net/block_{i}",
            "role": q.WEIGHT,
            "trainable": True,
            "shape": [2048, 1024],
        }
        for i in range(variables)
    ]
    owners = [each["path"] for each in facts]
    recording = Recording(path, monitor="TrainingDoctor")
    gradients = recording.for_monitor("GradientMonitor")
    recording.record_facts(
        {
            "variables": facts,
            "epochs": epochs,
            "doctor": ["TrainingDoctor", "GradientMonitor"],
        }
    )
    judge = Judge(recording)
    checks, flushes, largest = [], [], 0
    for epoch in range(epochs):
        end = (epoch + 1) * STEPS
        steps = np.linspace(epoch * STEPS, end - 1, SAMPLES).astype(int)
        shape = len(OF_STEPS), variables, SAMPLES
        values = random.normal(1e-2, 1e-3, shape).astype("float32")
        for owner, rows in zip(owners, values.swapaxes(0, 1), strict=True):
            for quantity, row in zip(OF_STEPS, rows, strict=True):
                gradients.append(epoch, owner, quantity, steps, row)
            for quantity in OF_LOOKS:
                recording.append(epoch, owner, quantity, end, 0.1)
        loss = 0.2 + 2.0 * 0.998**epoch
        for key in ("loss", "val_loss"):
            recording.append(epoch, key, q.LOG, end, loss, monitor=q.FIT)
        recording.append(epoch, "", q.CHECKED, end, 1.0)
        checks.append(processor_time(judge.check, (epoch, end)))
        flushes.append(processor_time(recording.flush))
        largest = max(largest, os.stat(path).st_size)
    recording.close()
    memory = most_memory()
    # A mean: only now and then rows are left out.
    last = slice(-max(1, epochs // 4), None)
    return {
        "memory, MB": memory,
        "file at its largest, MB": largest / 1e6,
        "file at its end, MB": os.stat(path).st_size / 1e6,
        "rows that are kept, millions": len(recording) / 1e6,
        "s a verdict": float(np.mean(checks[last])),
        "s to write an epoch": float(np.mean(flushes[last])),
        "s to resume": processor_time(resume, path),
        "s to read": processor_time(Recording.load, path),
    }


def most_memory() -> float:
    """Megabytes that this process took at its largest."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # A new process starts with the `ru_maxrss` of the one that began it.
        [line] = [s for s in status.read_text().splitlines() if "VmHWM" in s]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resume(path: str) -> None:
    forget(pathlib.Path(path))  # what this process knows of the file
    Recording(path).close()


def simulations(
    grows: str, sizes: Sequence[int], **fixed: int
) -> Iterator[dict[str, float]]:
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            arguments = {**fixed, grows: size, "path": f"{folder}/run.jsonl"}
            done = subprocess.run(
                [sys.executable, __file__, "--simulate", json.dumps(arguments)],
                stdout=subprocess.PIPE,
                check=True,
            )
        yield json.loads(done.stdout)


def fits(
    sizes: Sequence[int], build: Callable[[int], tuple[Any, int]]
) -> Iterator[dict[str, float]]:
    """Epochs of `fit`.

    Args:
        sizes: To be given to `build`.
        build: Gives a compiled model of 64 inputs and its steps an epoch.
    """
    import keras

    from keras_concepts.callbacks import GradientMonitor

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.begun = time.process_time()

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.seconds = time.process_time() - self.begun

    for size in sizes:
        found = {}
        for name, monitors in (
            ("s a plain epoch", []),
            ("s an epoch with GradientMonitor", [GradientMonitor()]),
        ):
            keras.utils.set_random_seed(0)
            model, steps = build(size)
            x = np.random.default_rng(0).normal(size=(8 * steps, 64))
            clock = Clock()
            # Which begins before the monitor and ends after it.
            callbacks = [clock, *monitors, clock]
            _ = model.fit(
                x,
                x[:, :1],
                batch_size=8,
                epochs=3,
                verbose=0,
                callbacks=callbacks,
            )
            found[name] = clock.seconds
            for monitor in monitors:
                found["rows an epoch"] = len(monitor.recording) / 3
        yield found


def perceptron(width: int, depth: int = 2) -> Any:
    import keras

    model = keras.Sequential(
        [
            keras.Input((64,)),
            *(keras.layers.Dense(width, "relu") for _ in range(depth)),
            keras.layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


def metrics_of(sizes: Sequence[int]) -> Iterator[dict[str, float]]:
    """Metrics of many classes, 64 rows an update."""
    from keras_concepts import metrics

    random = np.random.default_rng(0)
    for classes in sizes:
        y = random.integers(0, classes, 64)
        scores = random.random((64, classes), dtype=np.float32)
        found = {}
        for name, make in {
            "F1Score": lambda: metrics.F1Score("macro"),
            "ClassificationReport": metrics.ClassificationReport,
            "ConfusionMatrix": metrics.ConfusionMatrix,
        }.items():
            if name == "ConfusionMatrix" and classes > 4096:
                continue  # it grows with the square
            metric = make()
            metric.update_state(y, scores)
            _ = metric.result()
            found[f"{name}: s an update"] = processor_time(
                metric.update_state, y, scores
            )
            found[f"{name}: s a result"] = processor_time(metric.result)
            state = sum(int(np.prod(v.shape)) for v in metric.variables)
            found[f"{name}: numbers in memory"] = float(state)
        yield found


def processor_time(act: Callable[..., Any], *arguments: Any) -> float:
    begin = time.process_time()
    _ = act(*arguments)
    return time.process_time() - begin


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """Slope of the logarithms, where there are values."""
    points = [(s, v) for s, v in zip(sizes, values, strict=True) if v > 0.0]
    if len(points) < 2:
        return float("nan")
    log_sizes, log_values = np.log(np.array(points)).T
    return float(np.polyfit(log_sizes, log_values, 1)[0])


def show(
    console: Console,
    title: str,
    sizes: Sequence[int],
    found: Iterator[dict[str, float]],
) -> None:
    results = list(found)
    table = Table(title, *(f"{size:,}" for size in sizes), "exponent")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in dict.fromkeys(name for each in results for name in each):
        values = [each.get(name, 0.0) for each in results]
        cells = [f"{value:.3g}" if value else "-" for value in values]
        table.add_row(name, *cells, f"{exponent(sizes, values):.2f}")
    console.print(table)


def main(quick: bool) -> None:
    console = Console(width=110)
    epochs = (50, 100, 200) if quick else (125, 250, 500, 1000)
    of = 50 if quick else 200
    title = f"epochs, of {of} variables"
    show(console, title, epochs, simulations("epochs", epochs, variables=of))
    variables = (50, 100, 200) if quick else (250, 500, 1000, 2000)
    of = 5 if quick else 60
    title = f"variables, {of} epochs"
    show(
        console,
        title,
        variables,
        simulations("variables", variables, epochs=of),
    )
    steps = (64, 128, 256) if quick else (256, 1024, 4096)
    show(
        console,
        "steps an epoch",
        steps,
        fits(steps, lambda size: (perceptron(16), size)),
    )
    depths = (4, 8, 16) if quick else (8, 16, 32, 64)
    show(
        console,
        "layers",
        depths,
        fits(depths, lambda size: (perceptron(16, size), 64)),
    )
    widths = (32, 64, 128) if quick else (128, 256, 512, 1024, 2048)
    show(
        console,
        "width of 2 layers; parameters are its square",
        widths,
        fits(widths, lambda size: (perceptron(size), 64)),
    )
    classes = (100, 1000) if quick else (100, 1000, 10_000, 100_000)
    show(console, "classes", classes, metrics_of(classes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    _ = parser.add_argument("--quick", action="store_true")
    _ = parser.add_argument("--simulate", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.simulate:
        print(json.dumps(simulate(**json.loads(given.simulate))))
    else:
        main(given.quick)
