"""How far back does it see? SimpleRNN, LSTM and GRU on a lag of 200 steps.

    KERAS_BACKEND=jax python examples/memory_horizon.py

The task is to copy. A sequence begins with two of eight letters; 199 blanks and
a question mark follow; at the mark the network must name the two letters in
order. Between the last letter and the mark, nothing happens for 200 steps, and
the answer depends only on the letters: a network whose gradient does not reach
back that far cannot learn the task, and guesses one letter in eight. (In the
adding task, the other classic, a network can begin with pairs of numbers that
happen to be close, and work its way back.)

There are only 64 such sequences, all used for both training and testing: the
question is not how a network generalizes, but whether any signal gets across.

Five networks differ only in their recurrent layer. Two of them have the biases
of `initializers.Chrono` (Tallec & Ollivier 2018), with which their gates
initially stay open for about as long as the sequence. Before training and after
each epoch, a `SignalMonitor` measures how much of the gradient is left at each
step on its way back: the memory horizon is how many steps back more than 1 % of
its largest value reaches.

Needs the extra `keras-concepts[examples]`.
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
from threadpoolctl import threadpool_limits

import keras_concepts as kc
from keras_concepts import quantities as q
from keras_concepts.reports import plot_memory

SYMBOLS = 8
LETTERS = 2
BATCH = 32
# Maximum gain from guessing: three standard errors.
LUCK = 3.0 * math.sqrt(
    (1 / SYMBOLS) * (1 - 1 / SYMBOLS) / (LETTERS * SYMBOLS**LETTERS)
)
# Above this the task counts as solved.
SOLVED = 0.9
COLOURS = {
    "SimpleRNN": "#d55e00",
    "LSTM": "#009e73",
    "Chrono LSTM": "#009e73",
    "GRU": "#0072b2",
    "Chrono GRU": "#0072b2",
}
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."


class Sequences(NamedTuple):
    """Symbols as one-hot vectors, and the letters at the beginning."""

    x: np.ndarray  # (64, time, SYMBOLS + 2)
    y: np.ndarray  # (64, LETTERS)


class Run(NamedTuple):
    """Results of one network."""

    name: str
    weights: int
    accuracy: float
    history: dict[str, list[float]]
    horizons: list[int]  # before training and after each epoch
    before: np.ndarray  # RMS gradient of the state, by steps back, (time,)
    after: np.ndarray
    recording: kc.Recording
    seconds: float


def all_sequences(lag: int) -> Sequences:
    y = np.array([*itertools.product(range(SYMBOLS), repeat=LETTERS)])
    blank, mark = SYMBOLS, SYMBOLS + 1
    symbols = np.full((len(y), LETTERS + lag), blank)
    symbols[:, :LETTERS] = y
    symbols[:, -1] = mark
    return Sequences(np.eye(SYMBOLS + 2, dtype="float32")[symbols], y)


def recurrent(name: str, options: argparse.Namespace) -> layers.Layer:
    chrono = kc.initializers.Chrono(options.lag + LETTERS, seed=options.seed)
    make: dict[str, Callable[[], layers.Layer]] = {
        "SimpleRNN": lambda: layers.SimpleRNN(options.units),
        "LSTM": lambda: layers.LSTM(options.units),
        "Chrono LSTM": lambda: layers.LSTM(
            options.units, bias_initializer=chrono, unit_forget_bias=False
        ),
        "GRU": lambda: layers.GRU(options.units),
        "Chrono GRU": lambda: layers.GRU(
            options.units, bias_initializer=chrono
        ),
    }
    return make[name]()


def build(name: str, options: argparse.Namespace) -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((options.lag + LETTERS, SYMBOLS + 2)),
            recurrent(name, options),
            layers.Dense(LETTERS * SYMBOLS),
            layers.Reshape((LETTERS, SYMBOLS)),
        ]
    )
    model.compile(
        # Without clipping, a single exploding gradient ruins training.
        keras.optimizers.Adam(options.learning_rate, clipnorm=1.0),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return model


def train(
    name: str, sequences: Sequences, options: argparse.Namespace, after: Any
) -> Run:
    keras.utils.set_random_seed(options.seed)
    model = build(name, options)
    rows = np.random.default_rng(options.seed).integers(
        len(sequences.x), size=BATCH * options.steps
    )
    stem = name.replace(" ", "_").lower()
    record_to = options.out / f"{stem}.jsonl"
    record_to.unlink(missing_ok=True)  # recordings append to existing files
    monitor = kc.callbacks.SignalMonitor(sequences, record_to=record_to)
    log = keras.callbacks.CSVLogger(options.out / f"{stem}.csv")
    started = time.perf_counter()
    history = model.fit(
        sequences.x[rows],
        sequences.y[rows],
        batch_size=BATCH,
        epochs=options.epochs,
        verbose=0,
        # The monitor adds to the logs, so it comes before the callbacks that
        # read them.
        callbacks=[monitor, log, after],
    )
    seconds = time.perf_counter() - started
    answers = model.predict(sequences.x, batch_size=512, verbose=0)
    horizons = monitor.recording.select(quantity=q.MEMORY_HORIZON).value
    errors = [*monitor.recording.select(quantity=q.STATE_ERROR_RMS)]
    return Run(
        name,
        model.count_params(),
        float(np.mean(answers.argmax(axis=-1) == sequences.y)),
        history.history,
        horizons.astype(int).tolist(),
        errors[0].values,
        errors[-1].values,
        monitor.recording,
        seconds,
    )


def table(runs: Sequence[Run], lag: int) -> Table:
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption="Horizon: steps back that more than 1 % of the largest "
        f"gradient reaches, of {lag + LETTERS}. Gradient: RMS dL/dh, in an "
        f"LSTM dL/dc, {lag} steps back over that at the question mark, before "
        "training.",
        caption_justify="left",
    )
    result.add_column("network", vertical="bottom")
    for header in (
        "weights",
        "accuracy",
        "horizon\nat first",
        "horizon\nat the end",
        f"gradient\n{lag} back",
        "seconds",
    ):
        result.add_column(header, justify="right", vertical="bottom")
    for run in runs:
        result.add_row(
            run.name,
            f"{run.weights:,}",
            f"{run.accuracy:.3f}",
            f"{run.horizons[0]}",
            f"{run.horizons[-1]}",
            f"{run.before[lag] / run.before[0]:.1g}",
            f"{run.seconds:.0f}",
        )
    return result


def style_of(run: Run) -> dict[str, Any]:
    """One colour for each layer; dashed with the biases of `Chrono`."""
    line = {"ls": "--", "lw": 1.5} if "Chrono" in run.name else {"lw": 2.5}
    return {"color": COLOURS[run.name], **line}


def plot_gradients(runs: Sequence[Run], path: pathlib.Path) -> None:
    figure, panels = plt.subplots(
        1, 2, figsize=(9.6, 4.2), dpi=120, layout="constrained", sharey=True
    )
    for axes, moment in zip(panels, ("before", "after"), strict=True):
        for run in runs:
            errors = run.before if moment == "before" else run.after
            shares = errors / errors.max()
            # Exact zeros cannot be drawn on a logarithmic scale.
            shares[shares == 0.0] = np.nan
            axes.semilogy(shares, **style_of(run), label=run.name)
        axes.axhline(0.01, color="0.3", ls="--", lw=1)
        axes.set_title(f"{moment} training", loc="left", weight="bold")
        axes.set_xlabel("steps back from the question mark")
        axes.set_ylim(1e-10, 3)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("RMS gradient of the state, share of the largest")
    panels[0].text(runs[0].before.size, 0.013, "1 %", color="0.3", ha="right")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=5, frameon=False
    )
    figure.savefig(path)


def plot_curves(runs: Sequence[Run], lag: int, path: pathlib.Path) -> None:
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9.6, 4.2), dpi=120, layout="constrained"
    )
    for run in runs:
        style = style_of(run) | {"marker": "o", "ms": 4}
        epochs = range(1, len(run.horizons))
        left.plot(epochs, run.history["accuracy"], **style, label=run.name)
        right.plot(run.horizons, **style)
    left.axhline(1 / SYMBOLS, color="0.3", ls="--", lw=1)
    left.text(1, 1 / SYMBOLS - 0.01, "guessing", va="top", color="0.3", size=9)
    right.axhline(lag, color="0.3", ls="--", lw=1)
    right.text(0, lag * 0.985, "lag", va="top", color="0.3", size=9)
    left.set_title("letters named correctly", loc="left", weight="bold")
    right.set_title("memory horizon, in steps", loc="left", weight="bold")
    left.set_ylim(0, 1.02)
    left.set_xlim(0.7)
    right.set_xlim(-0.3)
    right.xaxis.set_major_formatter(lambda n, _: f"{n:.0f}" if n else "start")
    right.set_ylim(0, 1.05 * (lag + LETTERS))
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def together(runs: Sequence[Run]) -> kc.Recording:
    """One recording with a layer per network, to draw them side by side."""
    joined = kc.Recording(monitor="SignalMonitor")
    for run in runs:
        for series in run.recording:
            if series.quantity in (q.STATE_ERROR_RMS, q.MEMORY_HORIZON):
                joined.append(
                    series.epoch,
                    run.name,
                    series.quantity,
                    series.steps,
                    series.values,
                    index=series.index,
                )
    return joined


def conclude(runs: Sequence[Run], options: argparse.Namespace) -> str:
    """One sentence, for any outcome."""
    scores = "; ".join(
        f"{run.accuracy:.0%} with {run.name}"
        + " (chance)" * (run.accuracy <= 1.0 / SYMBOLS + LUCK)
        + f", horizon from {run.horizons[0]} to {run.horizons[-1]}"
        for run in runs
    )
    epochs = len(runs[0].history["loss"])
    return (
        f"Over a lag of {options.lag} steps, after {epochs} "
        f"epoch{'s'[: epochs > 1]}, letters named correctly are {scores} "
        f"steps: {verdict(runs)}."
    )


def verdict(runs: Sequence[Run]) -> str:
    accuracy = {run.name: run.accuracy for run in runs}
    findings = []
    for kind in ("LSTM", "GRU"):
        plain = accuracy.get(kind)
        chrono = accuracy.get(f"Chrono {kind}")
        if plain is None or chrono is None:
            continue
        guessing = 1.0 / SYMBOLS + LUCK
        if max(plain, chrono) <= guessing:
            findings.append(f"{kind} learned nothing, with or without Chrono")
        elif plain <= guessing:
            much = "solves the task" if chrono > SOLVED else "learns"
            findings.append(
                f"{kind} {much} with Chrono and learns nothing without"
            )
        elif abs(chrono - plain) <= LUCK:
            findings.append(f"Chrono makes no difference to {kind}")
        else:
            does = "helps" if chrono > plain else "harms"
            findings.append(f"Chrono {does} {kind}")
    best = max(accuracy, key=lambda name: accuracy[name])
    if best == "SimpleRNN":
        findings.append("SimpleRNN is the best of all")
    return listed(findings or ["nothing is compared with Chrono"])


def listed(items: Iterable[str]) -> str:
    *head, last = items
    return f"{', '.join(head)} and {last}" if head else last


def main() -> None:
    options = parse()
    # On a busy machine torch's threads wait for each other, and layers this
    # small gain nothing from them. scikit-learn installs threadpoolctl.
    threadpool_limits(limits=1)
    console = Console(highlight=False)
    sequences = all_sequences(options.lag)
    console.print(
        f"{len(sequences.x)} sequences of {LETTERS} letters, a lag of "
        f"{options.lag} steps; {keras.backend.backend()}"
    )
    runs = []
    with Progress(console=console) as progress:
        total = options.epochs * len(options.networks)
        task = progress.add_task("training", total=total)
        advance = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: progress.advance(task)
        )
        for name in options.networks:
            progress.update(task, description=name)
            runs.append(train(name, sequences, options, advance))
        progress.update(task, description="trained")
    console.print(table(runs, options.lag))

    plot_gradients(runs, options.out / "gradients.png")
    plot_curves(runs, options.lag, options.out / "curves.png")
    memory = plot_memory(together(runs))
    memory.savefig(options.out / "memory.png")
    print(
        f"\nGradient through time: {options.out / 'gradients.png'}"
        f"\nThe same over the epochs: {options.out / 'memory.png'}"
        f"\nLearning curves: {options.out / 'curves.png'}\n"
    )
    sentence = conclude(runs, options)
    console.print(QUICK if options.quick else sentence)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="SimpleRNN, LSTM and GRU on a lag of 200 steps."
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=list(COLOURS),
        default=list(COLOURS),
        metavar="NAME",
        help=f"any of: {', '.join(map(repr, COLOURS))}",
    )
    parser.add_argument("--lag", type=count, metavar="STEPS")
    parser.add_argument("--units", type=count, default=32, metavar="N")
    parser.add_argument("--epochs", type=count, metavar="N")
    parser.add_argument(
        "--steps",
        type=count,
        metavar="N",
        help="steps per epoch (default: 100)",
    )
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/memory_horizon",
        metavar="FOLDER",
        help="folder for figures, logs, recordings (default: %(default)s)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a lag of 20, 2 epochs of 20 steps"
    )
    options = parser.parse_args()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    options.networks = list(dict.fromkeys(options.networks))
    options.lag = options.lag or (20 if options.quick else 200)
    options.epochs = options.epochs or (2 if options.quick else 10)
    options.steps = options.steps or (20 if options.quick else 100)
    return options


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least 1. Received: {text!r}."
        )
    return int(text)


if __name__ == "__main__":
    main()
