"""The data and the networks that most concept pages train."""

from typing import Any

import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits

ROWS, TRAINING_ROWS = 1797, 1400
TEST_ROWS = ROWS - TRAINING_ROWS
UNITS, CLASSES = 32, 10


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """1,400 digits to train with and 397 to test with, 8 x 8 pixels, 0 to 1."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = (x[order] / 16.0).astype("float32"), y[order].astype("int32")
    n = TRAINING_ROWS
    return x[:n], y[:n], x[n:], y[n:]


def stack(
    activation: str,
    depth: int,
    units: int = UNITS,
    initializer: str = "glorot_uniform",
    seed: int = 0,
) -> keras.Sequential:
    """A network of equal hidden layers, with a softmax on top; not compiled."""
    keras.utils.set_random_seed(seed)
    hidden: list[Any] = [
        layers.Dense(
            units,
            activation,
            kernel_initializer=initializer,
            name=f"hidden_{n + 1}",
        )
        for n in range(depth)
    ]
    head = layers.Dense(CLASSES, "softmax", name="head")
    return keras.Sequential([keras.Input((64,)), *hidden, head])


def compiled(model: keras.Model, optimizer: Any = "adam") -> keras.Model:
    """Compiled for digits."""
    model.compile(
        optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Share of rows whose most probable class is right."""
    return float((model.predict(x, verbose=0).argmax(axis=1) == y).mean())
