"""Labelled texts for `text_classification.py`, and how to split them."""

import csv
import importlib.util
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import keras
import numpy as np
from sklearn.model_selection import GroupShuffleSplit, train_test_split

LICENSE_CATEGORIES = (
    "Permissive",
    "Copyleft",
    "Copyleft Limited",
    "Commercial",
    "Public Domain",
    "Source-available",
)
GENDERS = {"f": "feminine", "m": "masculine", "n": "neuter"}


Unit: TypeAlias = Literal["words", "characters"]
End: TypeAlias = Literal["start", "end"]


class UnavailableError(Exception):
    """A data set is not on this machine; the message says how to get it."""


class Corpus(NamedTuple):
    """Texts, each of one class. All texts are different."""

    source: str
    unit: Unit  # what the model reads a text by
    keep: End  # the more informative part of a text
    texts: list[str]
    labels: np.ndarray
    classes: list[str]
    groups: np.ndarray | None = None  # texts of one group are similar
    test: np.ndarray | None = None  # rows that the data set reserves for tests


def nouns() -> Corpus:
    """German nouns with one gender only; the gender is the class."""
    genders: dict[str, set[str]] = {}
    path = installed("german_nouns", "german-nouns") / "nouns.csv"
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            word = row["lemma"].lower()
            common = row["pos"] == "Substantiv" and row["genus"] in GENDERS
            if common and word.isalpha():
                genders.setdefault(word, set()).add(row["genus"])
    pairs = sorted((w, min(g)) for w, g in genders.items() if len(g) == 1)
    return corpus(
        "German nouns of Wiktionary, CC BY-SA 4.0",
        [word for word, _ in pairs],
        [GENDERS[gender] for _, gender in pairs],
        list(GENDERS.values()),
        unit="characters",
        keep="end",
    )


def licenses() -> Corpus:
    """Licence texts and notices; the category of the licence is the class."""
    folder = installed("licensedcode", "licensedcode-data") / "data"
    categories = {
        facts["key"]: facts["category"]
        for facts, _ in described(folder / "licenses", "*.LICENSE")
    }
    found: dict[str, tuple[str, str]] = {}
    for facts, text in described(folder / "rules", "*.RULE"):
        key = facts.get("license_expression", "")
        words = text.lower().split()
        if (
            len(words) >= 10
            and categories.get(key) in LICENSE_CATEGORIES
            and not facts.keys() & {"is_deprecated", "is_false_positive"}
        ):
            _ = found.setdefault(" ".join(words), (text, key))
    texts, keys = zip(*found.values(), strict=True)
    return corpus(
        "licence rules of ScanCode, CC BY 4.0",
        list(texts),
        [categories[key] for key in keys],
        list(LICENSE_CATEGORIES),
        groups=np.array(keys),
    )


def described(
    folder: pathlib.Path, pattern: str
) -> Iterator[tuple[dict[str, str], str]]:
    """Each file's facts, given between two lines `---`, and its text."""
    for path in sorted(folder.glob(pattern)):
        content = path.read_text(encoding="utf-8")
        _, facts, text = re.split(r"^---\s*$", content, maxsplit=2, flags=re.M)
        yield dict(re.findall(r"^(\w+): *(.*?) *$", facts, re.M)), text.strip()


def imdb() -> Corpus:
    return downloaded("imdb", keras.datasets.imdb, ["negative", "positive"])


def reuters() -> Corpus:
    names = keras.datasets.reuters.get_label_names()
    return downloaded("reuters", keras.datasets.reuters, list(names))


def downloaded(name: str, module: Any, classes: list[str]) -> Corpus:
    """A Keras data set, with its numbers converted back to words."""
    try:
        (x, y), (x_test, y_test) = module.load_data()
        words = {n + 3: word for word, n in module.get_word_index().items()}
    except Exception as error:  # `keras.utils.get_file` raises no other class
        raise UnavailableError(
            f"`--data {name}` is downloaded by Keras, which failed: {error}. "
            "`--data nouns` and `--data licenses` need no network."
        ) from error
    rows = [*x, *x_test]
    # 1 begins each text, and 2 would stand for a word that was left out.
    texts = [" ".join(words.get(n, "") for n in row) for row in rows]
    labels = [classes[number] for number in (*y, *y_test)]
    test = np.arange(len(x), len(rows))
    return corpus(f"keras.datasets.{name}", texts, labels, classes, test=test)


def corpus(
    source: str,
    texts: list[str],
    labels: list[str],
    classes: list[str],
    *,
    unit: Unit = "words",
    keep: End = "start",
    **more: Any,
) -> Corpus:
    numbers = {name: number for number, name in enumerate(classes)}
    y = np.array([numbers[label] for label in labels], "int32")
    return Corpus(source, unit, keep, texts, y, classes, **more)


def installed(module: str, package: str) -> pathlib.Path:
    """The folder of a package that contains only data."""
    found = importlib.util.find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            f"These texts are in the package `{package}`, which is not "
            'installed: pip install "keras-concepts[text]" (where that does '
            f"not help, as on Python 3.13: pip install --no-deps {package})"
        )
    return pathlib.Path(next(iter(found.submodule_search_locations)))


def sample(corpus: Corpus, rows: int, seed: int) -> Corpus:
    """Some of the texts, for a first look."""
    if rows >= len(corpus.texts):
        return corpus
    chosen = np.random.default_rng(seed).permutation(len(corpus.texts))[:rows]
    return corpus._replace(
        texts=[corpus.texts[row] for row in chosen],
        labels=corpus.labels[chosen],
        groups=None if corpus.groups is None else corpus.groups[chosen],
        test=None,
    )


def split(
    corpus: Corpus, by_group: bool, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows for training, validation and test."""
    rows = np.arange(len(corpus.texts))
    if corpus.test is not None:
        rows, test = np.setdiff1d(rows, corpus.test), corpus.test
    else:
        rows, test = divided(corpus, rows, 0.2, by_group, seed)
    return (*divided(corpus, rows, 0.1, by_group, seed), test)


def divided(
    corpus: Corpus, rows: np.ndarray, share: float, by_group: bool, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    y = corpus.labels[rows]
    if corpus.groups is None or not by_group:
        first, second = train_test_split(
            rows, test_size=share, stratify=y, random_state=seed
        )
        return first, second
    # The sizes of groups are given: of 200 splits, take the one in which the
    # share that each class gives away is closest to `share`.
    classes = np.eye(len(corpus.classes))[y]
    splits = GroupShuffleSplit(200, test_size=share, random_state=seed).split(
        rows, groups=corpus.groups[rows]
    )
    first, second = min(
        splits,
        key=lambda parts: np.abs(
            classes[parts[1]].sum(0) / classes.sum(0).clip(1) - share
        ).mean(),
    )
    return rows[first], rows[second]


DATA_SETS: dict[str, Callable[[], Corpus]] = {
    "nouns": nouns,
    "licenses": licenses,
    "imdb": imdb,
    "reuters": reuters,
}
