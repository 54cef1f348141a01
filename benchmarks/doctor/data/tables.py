"""Tables that pip installs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.doctor.data.rows import Data, split


def pair(load: Callable[..., Any], **arguments: Any) -> tuple[Any, Any]:
    """Inputs and targets, as scikit-learn or mlxtend gives them."""
    if load.__module__.startswith("sklearn"):
        arguments["return_X_y"] = True
    x, y = load(**arguments)
    return x, y


@functools.cache
def digits(rows: int | None = None) -> Data:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return split(x / 16.0, y, "classes", 10, rows=rows)


@functools.cache
def even_digits() -> Data:
    """Is the digit even?"""
    data = digits()
    return dataclasses.replace(
        data, y=1 - data.y % 2, y_test=1 - data.y_test % 2, task="binary",
        units=1,
    )  # fmt: skip


@functools.cache
def digit_columns() -> Data:
    """Whether a digit is even, prime, at least 5, has a loop."""
    data = digits()
    digit = np.arange(10)
    table = np.stack(
        [
            digit % 2 == 0,
            np.isin(digit, [2, 3, 5, 7]),
            digit >= 5,
            np.isin(digit, [0, 6, 8, 9]),
        ],
        axis=1,
    ).astype("float32")
    return dataclasses.replace(
        data, y=table[data.y], y_test=table[data.y_test], task="columns",
        units=4,
    )  # fmt: skip


@functools.cache
def rare_digit() -> Data:
    """Is the digit an 8? One row in ten is."""
    data = digits()
    return dataclasses.replace(
        data,
        y=(data.y == 8).astype("int32"),
        y_test=(data.y_test == 8).astype("int32"),
        task="binary",
        units=1,
    )


@functools.cache
def iris() -> Data:
    from sklearn.datasets import load_iris

    return split(*pair(load_iris), "classes", 3, standardize=True)


@functools.cache
def wine() -> Data:
    from sklearn.datasets import load_wine

    return split(*pair(load_wine), "classes", 3, standardize=True)


@functools.cache
def cancer() -> Data:
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    return split(x, y, "binary", standardize=True)


@functools.cache
def raw(name: str) -> Data:
    """The inputs of `wine`, `cancer`, `diabetes` or `boston`, unscaled."""
    from mlxtend import data as mlxtend
    from sklearn import datasets

    match name:
        case "wine":
            return split(*pair(datasets.load_wine), "classes", 3)
        case "cancer":
            return split(*pair(datasets.load_breast_cancer), "binary")
        case "boston":
            return split(*pair(mlxtend.boston_housing_data), "real")
    return split(*pair(datasets.load_diabetes, scaled=False), "real")


@functools.cache
def diabetes() -> Data:
    from sklearn.datasets import load_diabetes

    return split(*pair(load_diabetes), "real", standardize=True)


@functools.cache
def boston() -> Data:
    from mlxtend.data import boston_housing_data

    return split(*pair(boston_housing_data), "real", standardize=True)


@functools.cache
def cars() -> Data:
    """Miles per gallon of 392 cars."""
    from mlxtend.data import autompg_data

    x, y = autompg_data()
    keep = np.isfinite(x[:, :7].astype(float)).all(1)
    return split(x[keep, :7].astype(float), y[keep], "real", standardize=True)


@functools.cache
def fitness() -> Data:
    """Three numbers of 20 men from three exercises: no row is held out."""
    from sklearn.datasets import load_linnerud

    data = split(*pair(load_linnerud), "real", 3, standardize=True, test=0.1)
    return dataclasses.replace(data, x_test=data.x, y_test=data.y)


@functools.cache
def terrain(rows: int = 2000) -> Data:
    """Height of real terrain at a place."""
    import matplotlib.cbook

    file: Any = matplotlib.cbook.get_sample_data("jacksboro_fault_dem.npz")
    height = file["elevation"]
    places = np.random.default_rng(4).integers(0, height.shape, (rows, 2))
    x = places / np.array(height.shape) * 2.0 - 1.0
    return split(x, height[places[:, 0], places[:, 1]], "real")
