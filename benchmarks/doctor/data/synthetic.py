"""Synthetic tables."""

import functools

import numpy as np

from benchmarks.doctor.data.rows import Data, split


@functools.cache
def moons(noise: float = 0.15, rows: int = 1000) -> Data:
    from sklearn.datasets import make_moons

    x, y = make_moons(rows, noise=noise, random_state=0)
    return split(x, y, "binary", standardize=True)


@functools.cache
def spirals(rows: int = 1200, turns: float = 1.25) -> Data:
    random = np.random.default_rng(5)
    radius = np.sqrt(random.uniform(0.02, 1.0, rows))
    label = random.integers(0, 2, rows)
    angle = 2.0 * np.pi * turns * radius + np.pi * label
    x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return split(x * 2.0, label, "binary")


@functools.cache
def blobs(classes: int = 5, features: int = 8, spread: float = 2.5) -> Data:
    from sklearn.datasets import make_blobs

    x, y, *_ = make_blobs(
        1000, features, centers=classes, cluster_std=spread, random_state=0
    )
    return split(x, y, "classes", classes, standardize=True)


@functools.cache
def hard(ceiling: float = 0.7) -> Data:
    """Two classes with some wrong labels: a low ceiling."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        1400,
        12,
        n_informative=5,
        flip_y=2.0 * (1.0 - ceiling),
        class_sep=1.5,
        random_state=0,
    )
    return split(x, y, "binary", standardize=True)


@functools.cache
def friedman(rows: int = 1000, noise: float = 0.5) -> Data:
    from sklearn.datasets import make_friedman1

    x, y = make_friedman1(rows, noise=noise, random_state=0)
    return split(x, y, "real", standardize=True)


@functools.cache
def parity(bits: int = 4, features: int = 10) -> Data:
    """Parity of some of the bits: a plateau, then a fast descent."""
    x = np.random.default_rng(6).integers(0, 2, (1600, features))
    y = x[:, :bits].sum(1) % 2
    return split(x * 2.0 - 1.0, y, "binary")


@functools.cache
def imbalanced(share: float = 0.05, separation: float = 1.0) -> Data:
    from sklearn.datasets import make_classification

    x, y = make_classification(
        2000,
        10,
        n_informative=6,
        n_clusters_per_class=1,
        weights=[1.0 - share],
        flip_y=0.0,
        class_sep=separation,
        random_state=0,
    )
    return split(x, y, "binary", standardize=True)
