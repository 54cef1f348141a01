"""What the doctor costs at its defaults: epochs of two seconds, and short runs.

    KERAS_BACKEND=jax python benchmarks/doctor_overhead.py [--quick] [--wall]

Runs with and without a `TrainingDoctor` take turns in one process. Of long
epochs the median of a watched one, after the first of each `fit`, is divided by
that of the plain ones before and after; what the first costs in addition is
reported apart, since there the measured step and the probe are compiled. Of
short epochs whole runs of 50 are compared, compilation and verdict included.
Times are those of the processor, which does not count waiting for a core; with
`--wall` they are those of the clock, as an accelerator needs.
"""

import argparse
import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

SECONDS = 2.0
EPOCHS, SHORT_EPOCHS = 5, 50
# Seconds of a short epoch, of every model, and of the first one in addition.
SHORT, LONGER = 0.05, 0.5


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What the doctor costs.")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    parser.add_argument("--quick", action="store_true", help="one short round")
    parser.add_argument("--wall", action="store_true", help="time on the clock")
    parser.add_argument("--keep", action="store_true", help="see results/")
    return parser.parse_args()


# As docs/doctor.md names them.
NAMES = {
    "mlp": "perceptron",
    "cnn": "convolutional",
    "gru": "GRU",
    "transformer": "small transformer",
    "resnet50": "ResNet-50",
}
MODELS = tuple(NAMES)
if __name__ == "__main__":
    # Before a backend is imported and counts the cores.
    os.environ["OMP_NUM_THREADS"] = str(parse().threads)
    os.environ["MKL_NUM_THREADS"] = str(parse().threads)

import first_epoch
import gradient_overhead
import keras
import numpy as np
from results import Cells, keep

from keras_concepts.callbacks import TrainingDoctor

BACKEND = keras.backend.backend()
now = time.process_time
if __name__ == "__main__" and parse().wall:
    now = time.perf_counter


class Data(NamedTuple):
    """Rows of a case, as many as an epoch has."""

    x: np.ndarray
    y: np.ndarray
    batch_size: int


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch, with what other callbacks do in it."""

    def __init__(self) -> None:
        super().__init__()
        self.begin: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.begin = [now()]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.begin.append(now())

    @property
    def seconds(self) -> np.ndarray:
        """Of each epoch but the last."""
        return np.diff(self.begin[1:])


def build(name: str) -> Callable[[], Any]:
    if name in gradient_overhead.CASES:
        case = gradient_overhead.CASES[name]
        return lambda: gradient_overhead.compiled_model(case)

    def make() -> Any:
        keras.utils.set_random_seed(0)
        model = first_epoch.MODELS[name]()
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model

    return make


def rows(name: str, model: Any, count: int) -> Data:
    random = np.random.default_rng(0)
    if name in gradient_overhead.CASES:
        case = gradient_overhead.CASES[name]
        x, size = case.inputs(random, count), case.batch_size
    else:
        x, size = random.random((count, *model.input_shape[1:]), np.float32), 8
    classes = int(model.output_shape[-1])
    return Data(x, random.integers(0, classes, count), size)


def run(model: Any, data: Data, epochs: int, watched: bool) -> Any:
    """A `fit`: seconds in all, and of each epoch but the last."""
    clock = Clock()
    doctor = TrainingDoctor(sink=lambda text: None)
    callbacks = [clock, doctor] if watched else [clock]
    begin = now()
    model.fit(
        data.x,
        data.y,
        batch_size=data.batch_size,
        epochs=epochs,
        verbose=0,
        callbacks=callbacks,
    )
    return now() - begin, clock.seconds


def step_seconds(make: Callable[[], Any], name: str) -> float:
    """Of a plain step."""
    model = make()
    size = rows(name, model, 8).batch_size
    data = rows(name, model, 8 * size)
    _, seconds = run(model, data, 4, watched=False)
    return float(np.median(seconds[1:])) / 8


def long_epochs(
    name: str, make: Callable[[], Any], rounds: int
) -> tuple[str, Cells]:
    steps = math.ceil(SECONDS / step_seconds(make, name))
    model = make()
    data = rows(name, model, steps * rows(name, model, 8).batch_size)
    ratios, first = [], []
    plain = run(make(), data, EPOCHS, watched=False)[1]
    for _ in range(rounds):
        watched = run(make(), data, EPOCHS, watched=True)[1]
        again = run(make(), data, EPOCHS, watched=False)[1]
        beside = np.concatenate([plain[1:], again[1:]])
        ratios += (watched[1:] / np.median(beside)).tolist()
        first.append(watched[0] - (plain[0] + again[0]) / 2.0)
        plain = again
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    more = f"{np.median(first):.1f} s on {plain[0]:.1f} s"
    cells = {
        f"epochs of about 2 s, {NAMES[name]}": {BACKEND: f"{middle:.2f}"},
        f"first epoch more, {NAMES[name]}": {BACKEND: more},
    }
    text = (
        f"{name:12} epochs of {np.median(plain[1:]):.1f} s, {steps} steps: "
        f"x {middle:.3f} [{low:.3f}, {high:.3f}]; first epoch "
        f"+ {more}"
    )
    return text, cells


def short_run(
    name: str, make: Callable[[], Any], rounds: int, seconds: float
) -> tuple[str, Cells]:
    steps = max(1, round(seconds / step_seconds(make, name)))
    model = make()
    data = rows(name, model, steps * rows(name, model, 8).batch_size)
    ratios = []
    plain = run(make(), data, SHORT_EPOCHS, watched=False)[0]
    for _ in range(rounds):
        watched = run(make(), data, SHORT_EPOCHS, watched=True)[0]
        again = run(make(), data, SHORT_EPOCHS, watched=False)[0]
        ratios.append(watched / ((plain + again) / 2.0))
        plain = again
    length = "one step" if steps == 1 else f"about {seconds:g} s"
    row = f"{SHORT_EPOCHS} epochs of {length}, {NAMES[name]}"
    text = (
        f"{name:12} {SHORT_EPOCHS} epochs of {steps} steps, {plain:.1f} s: "
        f"x {np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
    )
    return text, {row: {BACKEND: f"{np.median(ratios):.2f}"}}


def report(options: argparse.Namespace, text: str, cells: Cells) -> None:
    print(text, flush=True)
    if options.keep:
        keep("doctor_overhead", "costs", cells)


def main() -> None:
    options = parse()
    gradient_overhead.limit_threads(options.threads)
    gradient_overhead.keep_freed_memory()
    rounds = 1 if options.quick else options.rounds
    print(f"{keras.backend.backend()}, {options.threads} thread(s)", flush=True)
    for name in options.models:
        report(options, *long_epochs(name, build(name), rounds))
        report(options, *short_run(name, build(name), rounds, SHORT))
    if not options.quick:
        name = options.models[0]
        report(options, *short_run(name, build(name), rounds, LONGER))


if __name__ == "__main__":
    main()
