"""Cross-entropy at the start of training, and of certain wrong answers."""

from typing import Any

import keras
import numpy as np

import keras_concepts as kc
from digits import compiled, digits, stack
from measured import Measured

SEEDS, WIDEST = 5, 100
GAPS = np.array([1, 2, 5, 10, 15, 20, 30, 50, 80, WIDEST], dtype="float32")


def measure() -> Measured:
    x, y, _, _ = digits()
    first = [
        compiled(stack("relu", 3, seed=seed)).evaluate(x, y, verbose=0)[0]
        for seed in range(SEEDS)
    ]
    # The wrong one of two classes is ahead by so much.
    logits = np.stack([GAPS, np.zeros_like(GAPS)], axis=1)
    labels = np.ones(len(GAPS), dtype="int32")
    # As an array, since Keras looks for the logits behind a TensorFlow tensor.
    p = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    of_p = keras.losses.sparse_categorical_crossentropy(labels, p)
    loss = kc.losses.CrossEntropy(from_logits=True, reduction=None)
    curves = {
        "from probabilities": keras.ops.convert_to_numpy(of_p),
        "from logits": keras.ops.convert_to_numpy(loss(labels, logits)),
    }
    numbers = {
        "start": f"{np.mean(first):.2f}",
        "uniform": f"{np.log(10):.2f}",
        "limit": f"{curves['from probabilities'][-1]:.1f}",
        "exact": f"{curves['from logits'][-1]:.0f}",
    }
    return Measured(numbers, curves)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for name, values in series.items():
        axes.plot(GAPS, values, "o-", ms=4, label=name)
    axes.set(
        xlabel="logit of the wrong class minus that of the right one",
        title="cross-entropy of a wrong answer",
    )
    axes.legend()
