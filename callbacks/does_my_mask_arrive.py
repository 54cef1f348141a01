"""Does my mask arrive at the LSTM?

    KERAS_BACKEND=jax python callbacks/does_my_mask_arrive.py

Is a sentence from Python's manual or from NumPy's? Two networks read the same
words, padded on the right. Both scale the vectors: one by a product, which
loses the mask, one by a layer. `check_masks` reports it before any training.
"""

import argparse
import inspect
import pathlib
import pydoc_data.topics
import re

import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.model_selection import train_test_split

import keras_concepts as kc

STEPS, WORDS = 60, 2000


def main() -> None:
    epochs, out = parse()
    x, x_test, y, y_test = train_test_split(*sentences(), random_state=0)
    figure = Figure((8, 4.2), dpi=120, layout="constrained")
    axes, results = figure.add_subplot(xlabel="epoch", ylabel="accuracy"), []
    for name in ("product", "layer"):
        keras.utils.set_random_seed(0)
        words = keras.Input((STEPS,), dtype="int32")
        vectors = layers.Embedding(WORDS, 16, mask_zero=True)(words)
        scale = layers.Rescaling(4) if name == "layer" else lambda x: x * 4
        state = layers.LSTM(16, name="lstm")(scale(vectors))
        model = keras.Model(words, layers.Dense(1, "sigmoid")(state))
        report = kc.check_masks(model, x[:256])
        model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        data = {"x": x, "y": y, "validation_data": (x_test, y_test)}
        log = model.fit(**data, epochs=epochs, verbose=0).history
        right = log["val_accuracy"]
        label = name + (": mask lost" if report.findings else ": mask kept")
        axes.plot([f"{i + 1}" for i in range(epochs)], right, "o-", label=label)
        where = " and ".join(f.layer for f in report.findings) or "nothing"
        results.append(f"{name} (`check_masks` names {where}): {right[-1]:.0%}")
    axes.set_title(f"Accuracy on new sentences ({np.mean(x == 0):.0%} padding)")
    axes.legend(title="scaled by a", frameon=False)
    figure.savefig(picture := out / "does_my_mask_arrive.png")
    print(f"Picture: {picture}\nAccuracy with a {'; with a '.join(results)}.")


def sentences() -> tuple[np.ndarray, np.ndarray]:
    numpy = [inspect.getdoc(x) or "" for x in vars(np).values() if callable(x)]
    texts = []
    for source in (pydoc_data.topics.topics.values(), numpy):
        split = re.split(r"\.\s|\n\n", "\n\n".join(source))
        texts += [s for s in split if 4 < len(s.split()) <= STEPS][:1500]
    counter = CountVectorizer(max_features=WORDS - 2).fit(texts)
    words, number = counter.build_analyzer(), counter.vocabulary_
    ids = [[number.get(word, -1) + 2 for word in words(s)] for s in texts]
    y = np.arange(len(ids)) >= 1500
    return keras.utils.pad_sequences(ids, STEPS, padding="post"), y


def parse() -> tuple[int, pathlib.Path]:
    parser = argparse.ArgumentParser(description="Does my mask arrive?")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path, default="runs")
    epochs, out = vars(parser.parse_args()).values()
    if epochs < 1 or out.is_file():
        parser.error(f"need {epochs=} of at least 1 and a folder {out=!s}")
    out.mkdir(parents=True, exist_ok=True)
    return epochs, out


if __name__ == "__main__":
    main()
