"""Where did the NaN come from?

    KERAS_BACKEND=jax python callbacks/where_did_the_nan_come_from.py

Does a sentence of Python's manual contain brackets? Rare words are left out, so
some sentences become empty, and the mean over their words is 0/0.
"""

import argparse
import pathlib
import pydoc_data.topics
import re
from typing import Any

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import CountVectorizer

from keras_concepts.callbacks import NonFiniteGuard

WORDS, BATCH = 1000, 32


def main() -> None:
    epochs, out = parse()
    x, y = sentences()
    full = (lengths := np.count_nonzero(x, axis=1)) > 0
    found, again = watch(x, y, epochs), watch(x[full], y[full], epochs)
    start = found.batch * BATCH
    empty = np.sum(lengths[start : start + BATCH] == 0)
    shown = lengths[: start + 10 * BATCH]
    figure = Figure((9, 4), dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="sentence", ylabel="words kept")
    axes.plot(shown, ".", color="0.6")
    axes.axvspan(start, start + BATCH, alpha=0.3, label="batch of first NaN")
    axes.plot(np.where(shown, np.nan, 0), "rv", label="no words kept")
    axes.legend(loc="upper right")
    figure.savefig(picture := out / "where_did_the_nan_come_from.png")
    print(
        f"Picture: {picture}\nThe {found.kind} of {found.layer} is NaN in "
        f"epoch {found.epoch + 1}, batch {found.batch + 1}: {empty} of {BATCH} "
        f"sentences are empty. Without them, {again or 'no step fails'}."
    )


def watch(x: np.ndarray, y: np.ndarray, epochs: int) -> Any:
    keras.utils.set_random_seed(0)
    words = layers.Embedding(WORDS, 16, mask_zero=True)
    mean = layers.GlobalAveragePooling1D(name="mean")
    model = keras.Sequential([words, mean, layers.Dense(1)])
    model.compile("adam", "mse")
    guard = NonFiniteGuard(sink=lambda message: None)
    model.fit(x, y, BATCH, epochs, 0, callbacks=[guard], shuffle=False)
    return guard.found


def sentences() -> tuple[np.ndarray, np.ndarray]:
    manual = "\n\n".join(pydoc_data.topics.topics.values())
    texts = [s for s in re.split(r"\.\s|\n\n", manual) if 3 < len(s) < 300]
    counter = CountVectorizer(max_features=WORDS - 1).fit(texts)
    words, number = counter.build_analyzer(), counter.vocabulary_
    ids = [[number[w] + 1 for w in words(s) if w in number] for s in texts]
    return keras.utils.pad_sequences(ids), np.array(["(" in s for s in texts])


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Where is the NaN from?")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
