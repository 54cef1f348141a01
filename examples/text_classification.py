"""GRU and LSTM compared on real text, from the words to a saved classifier.

    KERAS_BACKEND=jax python examples/text_classification.py
    KERAS_BACKEND=jax python examples/text_classification.py predict Sonnenblume

Four networks read the same texts and answer the same question: one that sees
which tokens a text has but not their order, a SimpleRNN, a GRU and an LSTM.
They are compared with a method without a network: TF-IDF of n-grams and
logistic regression. All learn from the same texts, choose on the same
validation texts (networks the epoch, the regression its strength) and are
compared once, on the same test texts, by accuracy and by macro F1, in which a
rare class matters as much as a frequent one. `preflight` looks for faults
before each training run, and a `TrainingDoctor` reports at the end what went
wrong, if anything.

- `--data nouns`: is a German noun feminine, masculine or neuter? 84,500 words
  from Wiktionary, letter by letter, where order is everything.
- `--data licenses`: 12,169 licence texts and notices from ScanCode in six
  categories, from 39 to 2 % of all. No licence is on both sides of the split;
  `--split random` shows the scores if it were.
- `--data imdb` and `--data reuters`, which Keras downloads.

Try `--no-mask`, `--shuffle` and `--max-length 20` to see how much masks, order
and the rest of a text matter.

Needs the extra `keras-concepts[text]`, which contains the first two datasets.
"""

import argparse
import csv
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

# TensorFlow's messages would break the progress bars.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import layers
from rich import box
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score

import keras_concepts as kc
from text_data import DATA_SETS, Corpus, UnavailableError, sample, split

RECURRENT = ("SimpleRNN", "GRU", "LSTM")
COLOURS = {
    "order-blind": "0.5",
    "SimpleRNN": "#d55e00",
    "GRU": "#0072b2",
    "LSTM": "#009e73",
}
# Printed instead of a conclusion.
QUICK = "--quick only shows that it runs, not which is best."
# Chosen on the validation texts; `--quick` takes the last column.
DEFAULTS: dict[str, tuple[Any, Any, Any]] = {
    # option: nouns, all others, --quick
    "max_length": (18, 160, 16),
    "embedding": (64, 64, 16),
    "embedding_dropout": (0.2, 0.2, 0.0),
    "units": (192, 64, 32),
    "epochs": (12, 8, 3),
    "batch_size": (256, 64, 80),
    "learning_rate": (4e-3, 3e-3, 1e-2),
    "dropout": (0.5, 0.5, 0.2),
    "l2": (1e-4, 1e-4, 1e-4),
    "balance": (0.25, 0.25, 0.25),
    "rows": (None, None, 2_000),  # whole batches
}
PROBE = 256  # texts on which the gradient through time is measured
CHECKED = 2_000  # texts that are checked before training
ABOUT = "classifier.json"


class Texts(NamedTuple):
    """One part of the corpus: as written, and as the networks read it."""

    texts: list[str]
    x: np.ndarray
    y: np.ndarray


class Data(NamedTuple):
    """The corpus in three parts, and the vocabulary of the first."""

    corpus: Corpus
    vocabulary: kc.Vocabulary
    learn: Texts
    choose: Texts
    test: Texts


class Run(NamedTuple):
    """Results of one classifier on the test texts."""

    name: str
    accuracy: float
    macro_f1: float
    validation_f1: float
    parameters: int
    seconds: float
    cpu_seconds: float  # of all cores; on a busy machine more reliable
    predicted: np.ndarray
    history: dict[str, list[float]]
    signals: kc.Recording
    doctor: kc.callbacks.TrainingDoctor | None = None


NUMBERS = Run._fields[:-4]


def prepare(corpus: Corpus, options: argparse.Namespace) -> Data:
    try:
        parts = split(corpus, options.split == "group", options.seed)
    except ValueError as error:
        sys.exit(f"These texts cannot be split. Try more --rows: {error}")
    vocabulary = kc.Vocabulary.learn(
        (corpus.texts[row] for row in parts[0]),
        corpus.unit,
        max_tokens=20_000,
    )
    random = np.random.default_rng(options.seed)

    def encoded(rows: np.ndarray) -> Texts:
        texts = [corpus.texts[row] for row in rows]
        x = vocabulary.encode(texts, options.max_length, keep=corpus.keep)
        if options.shuffle:
            for row in x:
                random.shuffle(row[: np.count_nonzero(row)])
        return Texts(texts, x, corpus.labels[rows])

    return Data(corpus, vocabulary, *map(encoded, parts))


def build(name: str, data: Data, options: argparse.Namespace) -> keras.Model:
    classes = len(data.corpus.classes)
    reader: dict[str, Callable[..., keras.Layer]] = {
        "order-blind": lambda units, **gates: layers.GlobalAveragePooling1D(),
        "SimpleRNN": lambda units, **gates: layers.SimpleRNN(units),
        "GRU": layers.GRU,
        "LSTM": layers.LSTM,
    }
    gates: dict[str, Any] = {}
    if options.chrono:
        gates["bias_initializer"] = kc.initializers.Chrono(options.chrono)
        if name == "LSTM":
            gates["unit_forget_bias"] = False
    model = keras.Sequential(
        [
            layers.Input((options.max_length,), dtype="int32"),
            layers.Embedding(
                len(data.vocabulary),
                options.embedding,
                mask_zero=options.mask,
                name="embedding",
            ),
            layers.SpatialDropout1D(options.embedding_dropout),
            reader[name](options.units, **gates),
            layers.Dropout(options.dropout),
            layers.Dense(
                classes,
                kernel_regularizer=kc.regularizers.L2(options.l2),
                name="output",
            ),
        ],
        name=file_name(name),
    )
    counts = np.bincount(data.learn.y, minlength=classes).clip(1)
    steps = options.epochs * -(-len(data.learn.y) // options.batch_size)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(options.learning_rate, steps)
        ),
        kc.losses.CrossEntropy(
            from_logits=True,
            label_smoothing=0.1,
            # 0 gives all texts equal weight, 1 all classes.
            class_weights=(counts.mean() / counts) ** options.balance,
        ),
        metrics=["accuracy", kc.metrics.F1Score("macro", from_logits=True)],
    )
    return model


def train(
    name: str, data: Data, options: argparse.Namespace, progress: Progress
) -> Run:
    keras.utils.set_random_seed(options.seed)
    _, _, learn, choose, test = data
    model = build(name, data, options)
    progress.console.print(f"{name}: {kc.check_masks(model, learn.x[:64])}")
    # On few texts, so that it takes only seconds.
    for finding in kc.preflight(model, learn.x[:CHECKED], learn.y[:CHECKED]):
        progress.console.print(f"{name}: {finding}")
    stem = options.out / model.name
    # The gradient at each time step, for the same texts in every epoch.
    signals = kc.callbacks.SignalMonitor(
        probe=(choose.x[:PROBE], choose.y[:PROBE])
    )
    penalties = kc.callbacks.PenaltyReporter(max_samples=32)
    gradients = kc.callbacks.GradientMonitor()
    record_to = pathlib.Path(f"{stem}.jsonl")
    record_to.unlink(missing_ok=True)  # recordings append to existing files
    doctor = kc.callbacks.TrainingDoctor(
        (choose.x[:PROBE], choose.y[:PROBE]),
        record_to,
        sink=lambda text: None,  # printed at the end
    )
    task = progress.add_task(name, total=options.epochs)
    started, worked = time.perf_counter(), time.process_time()
    history = model.fit(
        learn.x,
        learn.y,
        batch_size=options.batch_size,
        epochs=options.epochs,
        validation_data=(choose.x, choose.y),
        verbose=0,
        # The monitors add to the logs, so they come before the callbacks that
        # read them.
        callbacks=[
            signals,
            penalties,
            gradients,
            doctor,
            Advance(progress, task, options.epochs),
            keras.callbacks.CSVLogger(f"{stem}.csv"),
            keras.callbacks.EarlyStopping(
                "val_f1_score",
                mode="max",
                patience=4,
                restore_best_weights=True,
            ),
        ],
    )
    seconds = time.perf_counter() - started
    cpu_seconds = time.process_time() - worked
    model.save(f"{stem}.keras")
    gradients.plot(f"{stem}_gradients.png")
    penalties.plot(f"{stem}_penalties.png")
    signals.plot(f"{stem}_signals.png")
    doctor.report(f"{stem}.html")
    logits = model.predict(test.x, batch_size=512, verbose=0)
    predicted = logits.argmax(axis=1)
    return Run(
        name,
        float(accuracy_score(test.y, predicted)),
        macro_f1(test.y, predicted),
        max(history.history["val_f1_score"]),
        model.count_params(),
        seconds,
        cpu_seconds,
        predicted,
        history.history,
        signals.recording,
        doctor,
    )


class Advance(keras.callbacks.Callback):
    """Advances a bar with every batch, without waiting for its result."""

    async_safe = True

    def __init__(self, progress: Progress, task: TaskID, epochs: int) -> None:
        super().__init__()
        self.progress, self.task, self.epochs = progress, task, epochs

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.progress.advance(self.task, 1.0 / self.params["steps"])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        f1 = (logs or {}).get("val_f1_score", 0.0)
        name = self.model.name
        self.progress.update(self.task, description=f"{name}, F1 {f1:.3f}")

    def on_train_end(self, logs: Any = None) -> None:
        self.progress.update(self.task, completed=self.epochs)


def baseline(data: Data) -> Run:
    """TF-IDF of n-grams and logistic regression."""
    started, worked = time.perf_counter(), time.process_time()
    corpus, _, learn, choose, test = data
    letters = corpus.unit == "characters"
    vectorizer = TfidfVectorizer(
        analyzer="char" if letters else "word",
        ngram_range=(1, 5) if letters else (1, 2),
        # As in `kc.Vocabulary`: all words, and an end mark.
        token_pattern=None if letters else r"\w+",
        preprocessor=lambda text: f"{text.lower()}\n",
        sublinear_tf=True,
        min_df=2,
    )
    x = vectorizer.fit_transform(learn.texts)
    x_choose = vectorizer.transform(choose.texts)
    models = [
        LogisticRegression(C=c, max_iter=300).fit(x, learn.y)
        for c in (1.0, 10.0, 100.0)
    ]
    scores = [macro_f1(choose.y, model.predict(x_choose)) for model in models]
    best = models[int(np.argmax(scores))]
    predicted = best.predict(vectorizer.transform(test.texts))
    return Run(
        "TF-IDF",
        float(accuracy_score(test.y, predicted)),
        macro_f1(test.y, predicted),
        max(scores),
        best.coef_.size + best.intercept_.size,
        time.perf_counter() - started,
        time.process_time() - worked,
        predicted,
        {},
        kc.Recording(),
    )


def macro_f1(y: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(y, predicted, average="macro", zero_division=0.0))


def table(runs: Sequence[Run], test: Texts) -> Table:
    result = Table(
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        caption=f"Accuracy and macro F1 on {len(test.y):,} test texts. Epochs: "
        "trained, and the one whose weights were kept. Penalty: its share of "
        "the loss in the last epoch. Memory: steps back at which 1 % of the "
        f"gradient is left in the last epoch, of {test.x.shape[1]}. CPU: "
        "seconds of all cores together.",
        caption_justify="left",
    )
    result.add_column("", no_wrap=True)
    for header in (
        "accuracy",
        "macro F1",
        "parameters",
        "epochs",
        "penalty",
        "memory",
        "seconds",
        "CPU",
    ):
        result.add_column(header, justify="right")
    for run in runs:
        epochs = penalty = memory = ""
        if run.history:
            scores = run.history["val_f1_score"]
            epochs = f"{len(scores)} ({int(np.argmax(scores)) + 1})"
            penalty = f"{run.history['penalty_share'][-1]:.1%}"
        if run.name in RECURRENT:
            memory = f"{run.history['memory_horizon'][-1]:.0f}"
        result.add_row(
            run.name,
            f"{run.accuracy:.3f}",
            f"{run.macro_f1:.3f}",
            f"{run.parameters:,}",
            epochs,
            penalty,
            memory,
            f"{run.seconds:.0f}",
            f"{run.cpu_seconds:.0f}",
        )
    return result


def diagnose(runs: Sequence[Run], console: Console) -> None:
    """What went wrong with each network; one line if nothing did."""
    for run in runs:
        if run.doctor is None:
            continue
        name = f"TrainingDoctor on {run.name}"
        if any(finding.resolved is None for finding in run.doctor.findings):
            console.rule(name, align="left")
            run.doctor.summary(console)
        else:
            console.print(
                f"{name}: no problem found by {len(run.doctor.checked)} rules."
            )


def write(runs: Sequence[Run], path: pathlib.Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(NUMBERS)
        writer.writerows(run[: len(NUMBERS)] for run in runs)


def plot_curves(runs: Sequence[Run], path: pathlib.Path) -> None:
    figure = plt.figure(figsize=(9.6, 4), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for run in runs:
        if not run.history:
            dotted = {"color": "black", "ls": ":", "lw": 2, "zorder": 3}
            right.axhline(run.validation_f1, **dotted, label=run.name)
            continue
        colour = COLOURS[run.name]
        epochs = np.arange(1, len(run.history["loss"]) + 1)
        left.plot(epochs, run.history["loss"], "--", color=colour, lw=1.5)
        left.plot(epochs, run.history["val_loss"], color=colour, lw=2.5)
        scores = run.history["val_f1_score"]
        right.plot(epochs, scores, color=colour, lw=2.5, label=run.name)
        best = int(np.argmax(scores))
        dot = {"color": colour, "ms": 8, "mec": "white", "zorder": 4}
        right.plot(best + 1, scores[best], "o", **dot)
    left.plot([], [], "--", color="0.3", label="training texts")
    left.plot([], [], color="0.3", lw=2.5, label="validation texts")
    left.legend(frameon=False)
    left.set_title("loss", loc="left")
    right.set_title("macro F1 on validation texts, dot: kept", loc="left")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    handles = right.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path)


def plot_through_time(runs: Sequence[Run], path: pathlib.Path) -> None:
    """The error signal of each state, before and after training."""
    figure = plt.figure(figsize=(9.6, 4), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for run in runs:
        rows = run.signals.select(quantity="state_error_rms")
        if not len(rows):
            continue
        for axes, step in zip(panels, (0, rows.step.max()), strict=True):
            values = rows.value[rows.step == step]
            share = values / max(values.max(), np.finfo("float32").tiny)
            axes.plot(share, color=COLOURS[run.name], lw=2.5, label=run.name)
    for axes, title in zip(panels, ("untrained", "last epoch"), strict=True):
        axes.axhline(0.01, color="0.4", ls="--", lw=1, label="1 %")
        axes.set_title(f"gradient through time, {title}", loc="left")
        axes.set(yscale="log", ylim=(1e-8, 2.0), xlabel="steps back")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("RMS gradient of the state, share of the largest")
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=4, frameon=False)
    figure.savefig(path)


def conclude(runs: Sequence[Run], test: Texts) -> str:
    """One sentence, for any outcome."""
    right = {run.name: run.predicted == test.y for run in runs}
    networks = [run for run in runs if run.name in RECURRENT] or runs[1:]
    best = max(networks, key=lambda run: run.validation_f1).name
    parts = []
    for other in ("TF-IDF", "order-blind"):
        if other not in right or other == best:
            continue
        difference = right[best].astype(float) - right[other]
        margin = 2.0 * difference.std() / len(difference) ** 0.5
        gain = difference.mean()
        verdict = "no clear winner against"
        if abs(gain) > margin:
            verdict = "better than" if gain > 0.0 else "worse than"
        parts.append(
            f"{verdict} {other} ({right[other].mean():.1%}, difference "
            f"{gain:+.1%} ± {margin:.1%})"
        )
    return (
        f"Of the networks that read in order, validation chose {best}. It gets "
        f"{right[best].mean():.1%} of the {len(test.y):,} test texts right: "
        f"{' and '.join(parts)}."
    )


def report(run: Run, data: Data, path: pathlib.Path) -> str:
    """Each class of the test texts, as a table and as a figure."""
    names, y = data.corpus.classes, data.test.y
    predicted = np.eye(len(names))[run.predicted]
    scores = kc.metrics.ClassificationReport(names)
    scores.update_state(y, predicted)
    matrix = kc.metrics.ConfusionMatrix(normalize="true", class_names=names)
    matrix.update_state(y, predicted)
    figure = matrix.plot()
    figure.suptitle(f"{run.name}: share of each class, {len(y):,} test texts")
    figure.savefig(path)
    return scores.table()


def compare(options: argparse.Namespace) -> None:
    console = Console(highlight=False)
    started = time.perf_counter()
    corpus = DATA_SETS[options.data]()
    if options.rows:
        corpus = sample(corpus, options.rows, options.seed)
    console.print(
        f"{len(corpus.texts):,} texts ({corpus.source}), read in "
        f"{time.perf_counter() - started:.1f} s; {keras.backend.backend()}"
    )
    data = prepare(corpus, options)
    console.print(amounts(data))
    test = data.test
    lost = data.vocabulary.coverage(
        test.texts, options.max_length, keep=corpus.keep
    )
    console.print(
        f"{data.vocabulary}; of the test texts' {lost.tokens:,} {corpus.unit}, "
        f"{lost.lost / lost.tokens:.1%} are cut off ({lost.truncated:,} texts "
        f"are longer than {options.max_length - 1}) and "
        f"{lost.unknown / lost.tokens:.1%} unknown; {lost.empty} texts are "
        "empty."
    )
    runs = [baseline(data)]
    with Progress(console=console) as progress:
        for name in options.models:
            runs.append(train(name, data, options, progress))
    console.print(table(runs, test))
    best = max(runs[1:], key=lambda run: run.validation_f1)
    console.print(f"\n{best.name}, chosen by validation, class by class:\n")
    console.print(report(best, data, options.out / "confusion.png"))
    diagnose(runs, console)
    write(runs, options.out / "results.csv")
    plot_curves(runs, options.out / "curves.png")
    plot_through_time(runs, options.out / "through_time.png")
    data.vocabulary.save(options.out / "vocabulary.json")
    about = {
        "model": f"{file_name(best.name)}.keras",
        "trained": f"{len(data.learn.y):,} texts ({corpus.source})",
        "validation_f1": best.validation_f1,
        "classes": corpus.classes,
        "max_length": options.max_length,
        "keep": corpus.keep,
    }
    (options.out / ABOUT).write_text(json.dumps(about), encoding="utf-8")
    print(
        f"\nLearning curves: {options.out / 'curves.png'}"
        f"\nGradient through time: {options.out / 'through_time.png'}"
        f"\nConfusion matrix: {options.out / 'confusion.png'}"
        f"\nClassifier: {options.out / about['model']}\n"
    )
    console.print(QUICK if options.quick else conclude(runs, test))


def amounts(data: Data) -> Table:
    result = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    result.add_column("class")
    for header in ("training", "validation", "test"):
        result.add_column(header, justify="right")
    for number, name in enumerate(data.corpus.classes):
        parts = (data.learn, data.choose, data.test)
        counts = [np.count_nonzero(part.y == number) for part in parts]
        result.add_row(name, *(f"{count:,}" for count in counts))
    return result


def predict(options: argparse.Namespace) -> None:
    """Classifies texts with the classifier that an earlier run saved."""
    try:
        about = json.loads((options.out / ABOUT).read_text(encoding="utf-8"))
        vocabulary = kc.Vocabulary.load(options.out / "vocabulary.json")
        model = keras.saving.load_model(options.out / about["model"])
    except (FileNotFoundError, ValueError) as error:
        sys.exit(
            f"There is no classifier in {options.out}. Train one first: python "
            f"{sys.argv[0]} --data {options.data}. Received: {error}"
        )
    print(
        f"{about['model']}, learned from {about['trained']}, macro F1 "
        f"{about['validation_f1']:.3f} on validation texts"
    )
    how = {"max_length": about["max_length"], "keep": about["keep"]}
    for text in options.texts:
        found = vocabulary.coverage([text], **how)
        if found.unknown == found.tokens - found.lost:
            sys.exit(
                f"A text must hold {vocabulary.unit} that the classifier has "
                f"seen in training. Received: {text!r}."
            )
        logits = model.predict(vocabulary.encode([text], **how), verbose=0)[0]
        odds = np.exp(logits - logits.max())
        ranked = np.argsort(-logits)[:3]
        print(
            f"{text!r}:",
            ", ".join(
                f"{about['classes'][i]} {odds[i] / odds.sum():.0%}"
                for i in ranked
            ),
        )


def file_name(name: str) -> str:
    return name.replace("-", "_").lower()


def main() -> None:
    asked, *arguments = sys.argv[1:] or [""]
    try:
        if asked == "predict":
            predict(parse_predict(arguments))
        else:
            compare(parse())
    except UnavailableError as error:
        sys.exit(str(error))


def parser_of(description: str, **more: Any) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, **more)
    parser.add_argument("--data", choices=DATA_SETS, default="nouns")
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default="runs/text_classification",
        metavar="FOLDER",
        help="parent of a folder per dataset (default: %(default)s)",
    )
    return parser


def parse_predict(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_of(
        "Classify texts with the classifier that was trained last.",
        prog="text_classification.py predict",
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT")
    options = parser.parse_args(arguments)
    options.out /= options.data
    return options


def parse() -> argparse.Namespace:
    parser = parser_of(
        "GRU and LSTM compared on real text.",
        epilog="Afterwards: text_classification.py predict TEXT",
    )
    parser.add_argument(
        "--split",
        choices=("group", "random"),
        default="group",
        help="licenses: by licence, or with each licence on both sides",
    )
    for name in ("max-length", "units", "epochs", "batch-size", "rows"):
        parser.add_argument(f"--{name}", type=count, metavar="N")
    parser.add_argument("--seed", type=natural, default=0, metavar="N")
    parser.add_argument(
        "--chrono",
        type=count,
        metavar="STEPS",
        help="start with gates that keep a state for this many steps",
    )
    parser.add_argument(
        "--models", nargs="+", choices=COLOURS, default=list(COLOURS)
    )
    parser.add_argument(
        "--no-mask",
        dest="mask",
        action="store_false",
        help="read padding as if it were text",
    )
    parser.add_argument(
        "--shuffle", action="store_true", help="shuffle the tokens of each text"
    )
    parser.add_argument(
        "--quick", action="store_true", help="few texts, small networks"
    )
    options = parser.parse_args()
    options.out /= options.data
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out must be a folder to write to. Received: {error}")
    column = 2 if options.quick else int(options.data != "nouns")
    for name, values in DEFAULTS.items():
        if getattr(options, name, None) is None:
            setattr(options, name, values[column])
    return options


def count(text: str) -> int:
    return natural(text, least=1)


def natural(text: str, least: int = 0) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(
            f"must be an integer of at least {least}. Received: {text!r}."
        )
    return int(text)


if __name__ == "__main__":
    main()
