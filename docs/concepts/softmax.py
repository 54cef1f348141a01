"""Softmax applied once and twice, where it overflows, and how sure it is."""

from typing import Any

import keras
import numpy as np

import keras_concepts as kc
from digits import digits, stack
from measured import Measured

EARLY, EPOCHS, CLASSES = 5, 40, 10


def train(twice: bool) -> tuple[keras.Model, dict[str, list[float]], list[str]]:
    """A network, its logs, and what the doctor finds in it."""
    x, y, x_test, y_test = digits()
    model = stack("relu", 2, 64)
    model.compile(
        keras.optimizers.SGD(0.1),
        # From logits, the loss applies softmax itself.
        kc.losses.CrossEntropy(from_logits=twice),
        metrics=["accuracy"],
    )
    doctor = kc.callbacks.TrainingDoctor(sink=lambda text: None)
    logs = model.fit(
        *(x, y, 32),
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        verbose=0,
        callbacks=[doctor],
    ).history
    found = [each.rule for each in doctor.findings if each.resolved is None]
    return model, logs, found


def largest_exponent(dtype: str) -> float:
    """The number of which the exponential function is still finite."""
    return float(np.log(float(np.finfo(dtype).max)))


def measure() -> Measured:
    _, _, x_test, y_test = digits()
    model, once, nothing = train(twice=False)
    wrong, twice, found = train(twice=True)
    answers = wrong.predict(x_test, verbose=0).argmax(axis=1)
    turned = np.rot90(x_test.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64)
    p = model.predict(turned, verbose=0)
    # The first softmax gives 1 to one class and 0 to all others.
    ceiling = np.e / (np.e + CLASSES - 1.0)
    numbers = {
        "ceiling": f"{ceiling:.2f}",
        "floor": f"{-np.log(ceiling):.2f}",
        "loss": f"{once['loss'][-1]:.2f}",
        "loss_twice": f"{twice['loss'][-1]:.2f}",
        "accuracy": f"{100 * once['val_accuracy'][-1]:.0f}",
        "accuracy_twice": f"{100 * twice['val_accuracy'][-1]:.0f}",
        "early": f"{100 * once['val_accuracy'][EARLY - 1]:.0f}",
        "early_twice": f"{100 * twice['val_accuracy'][EARLY - 1]:.0f}",
        "answers": str(len(np.unique(answers))),
        "nothing": "nothing" if not nothing else str(nothing),
        "found": f"`{found[0]}`",
        "also": f"`{found[1]}`",
        "half": f"{largest_exponent('float16'):.0f}",
        "single": f"{largest_exponent('float32'):.0f}",
        "turned_right": f"{100 * np.mean(p.argmax(axis=1) == y_test):.0f}",
        "turned_sure": f"{100 * p.max(axis=1).mean():.0f}",
    }
    return Measured(numbers, {"once": once, "twice": twice})


def draw(series: dict[str, Any], figure: Any) -> None:
    left, right = figure.subplots(1, 2)
    for name, logs in series.items():
        epochs = range(1, EPOCHS + 1)
        left.plot(epochs, logs["loss"])
        right.plot(epochs, logs["val_accuracy"], label=f"softmax {name}")
    floor = np.log(1.0 + (CLASSES - 1.0) / np.e)
    left.axhline(floor, ls=":", color="gray")
    left.text(EPOCHS, floor - 0.05, "lowest with two", va="top", ha="right")
    left.set(xlabel="epoch", title="training loss", ylim=(0, None))
    right.set(xlabel="epoch", title="accuracy on test digits", ylim=(0, 1))
    right.legend(loc="lower right")
