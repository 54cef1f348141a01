"""Words, text and time series that pip installs, and synthetic sequences."""

import csv
import functools
import importlib.util
import pathlib
import pydoc_data.topics
from typing import Any

import numpy as np

from benchmarks.doctor.data.rows import Data, split


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
    """English text of Python's manual: at each letter, the next one."""
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

    file: Any = matplotlib.cbook.get_sample_data("goog.npz")
    prices = file["price_data"]
    close = np.log(np.asarray(prices["adj_close"], float))
    noise = np.array([close[i - 10 : i].std() for i in range(10, len(close))])
    windows = np.lib.stride_tricks.sliding_window_view(noise, length + 5)
    x = windows[:, :length, None]
    x = (x - x.mean()) / x.std()
    return split(x, windows[:, -1], "real", rows=1000)


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
    """A sequence of symbols; at each, the mirrored one."""
    x = np.random.default_rng(10).integers(1, 9, (rows, length)).astype("int32")
    return split(x, x[:, ::-1], "tokens", 9, vocabulary=9)
