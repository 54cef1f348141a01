"""F1 of a rare class, over the stream and as a mean over batches."""

from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn.metrics import f1_score

import keras_concepts as kc
from digits import digits
from measured import Measured

EPOCHS, BATCH, RARE = 30, 16, 8


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    rare, rare_test = (
        (y == RARE).astype("int32"),
        (y_test == RARE).astype("int32"),
    )
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(16, "relu"),
            layers.Dense(1, "sigmoid"),
        ]
    )
    score = kc.metrics.F1Score(threshold=0.5)
    model.compile(
        keras.optimizers.Adam(0.005),
        "binary_crossentropy",
        metrics=["accuracy", score],
    )
    curves: dict[str, list[float]] = {"accuracy": [], "F1": [], "mean": []}
    for _ in range(EPOCHS):
        model.fit(x, rare, 64, verbose=0)
        logs = model.evaluate(x_test, rare_test, verbose=0, return_dict=True)
        p = model.predict(x_test, verbose=0)[:, 0] > 0.5
        batches = [slice(i, i + BATCH) for i in range(0, len(p), BATCH)]
        of_batches = [
            f1_score(rare_test[rows], p[rows], zero_division=0.0)
            for rows in batches
        ]
        curves["accuracy"].append(logs["accuracy"])
        curves["F1"].append(float(np.ravel(logs["f1_score"])[0]))
        curves["mean"].append(float(np.mean(of_batches)))
    right = f1_score(rare_test, p)
    empty = np.mean([rare_test[rows].sum() == 0 for rows in batches])
    numbers = {
        "rare": f"{100 * rare_test.mean():.0f}",
        "constant": f"{100 * (1 - rare_test.mean()):.0f}",
        "accuracy_1": f"{curves['accuracy'][0]:.2f}",
        "f1_1": f"{curves['F1'][0]:.2f}",
        "f1": f"{curves['F1'][-1]:.3f}",
        "sklearn": f"{right:.3f}",
        "mean": f"{curves['mean'][-1]:.2f}",
        "empty": f"{100 * empty:.0f}",
    }
    return Measured(numbers, curves)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    labels = {
        "accuracy": "accuracy",
        "F1": "F1 of all test digits",
        "mean": f"mean of the F1 of batches of {BATCH}",
    }
    for name, values in series.items():
        axes.plot(range(1, EPOCHS + 1), values, "o-", ms=3, label=labels[name])
    axes.set(
        xlabel="epoch",
        xticks=range(1, EPOCHS + 1, 3),
        ylim=(0, 1),
        title=f"finding the digit {RARE} among all digits",
    )
    axes.legend()
