"""Dropout while training, at inference, and as an ensemble."""

from typing import Any

import keras
import numpy as np
from keras import layers

import keras_concepts as kc
from digits import TEST_ROWS, compiled, digits
from measured import Measured

ROWS, EPOCHS = 300, 100
UNITS, RATE = 256, 0.5


def network(rate: float) -> keras.Model:
    keras.utils.set_random_seed(0)
    hidden: list[Any] = []
    for _ in range(2):
        hidden += [layers.Dense(UNITS, "relu"), layers.Dropout(rate)]
    head = layers.Dense(10, "softmax")
    return compiled(keras.Sequential([keras.Input((64,)), *hidden, head]))


def cross_entropy(p: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


def measure() -> Measured:
    x, y, x_test, y_test = digits()
    losses, numbers = {}, {}
    models = {"without": network(0.0), "with": network(RATE)}
    for name, model in models.items():
        history = model.fit(
            x[:ROWS],
            y[:ROWS],
            epochs=EPOCHS,
            verbose=0,
            validation_data=(x_test, y_test),
        ).history
        losses[name] = history["loss"], history["val_loss"]
        numbers[f"accuracy_{name}"] = f"{history['val_accuracy'][-1]:.3f}"
        numbers[f"loss_{name}"] = f"{history['val_loss'][-1]:.2f}"
    model = models["with"]
    training, in_inference = (
        losses["with"][0][-1],
        model.evaluate(x[:ROWS], y[:ROWS], verbose=0)[0],
    )
    plain = model.predict(x_test, verbose=0)
    ensemble = kc.mc_predict(model, x_test, samples=50, seed=0)
    noise = np.random.default_rng(0).random(x_test.shape).astype("float32")
    of_noise = kc.mc_predict(model, noise, samples=50, seed=0)
    rate = float(numbers["accuracy_with"])
    error = 100 * np.sqrt(rate * (1.0 - rate) / len(y_test))
    numbers |= {
        "standard_error": f"{error:.1f}",
        "training_loss": f"{training:.3f}",
        "inference_loss": f"{in_inference:.3f}",
        "above": str(int(np.argmax(np.less(*losses["with"])))),
        "plain_loss": f"{cross_entropy(plain, y_test):.2f}",
        "ensemble_loss": f"{cross_entropy(ensemble.mean, y_test):.2f}",
        "digits_doubt": f"{np.median(ensemble.mutual_information):.3f}",
        "noise_doubt": f"{np.median(of_noise.mutual_information):.2f}",
    }
    return Measured(numbers, losses)


def draw(series: dict[str, Any], figure: Any) -> None:
    axes = figure.subplots()
    for n, (name, (training, held_out)) in enumerate(series.items()):
        epochs = range(1, EPOCHS + 1)
        axes.plot(epochs, training, f"C{n}:", label=f"{name} dropout, training")
        axes.plot(epochs, held_out, f"C{n}-", label=f"{name} dropout, test")
    axes.set(
        yscale="log",
        xlabel="epoch",
        title=f"loss on {ROWS} digits and on {TEST_ROWS} others",
    )
    axes.legend(loc="upper right", ncols=2)
