"""Rows to train on, and rows that are held back."""

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["classes", "one_hot", "binary", "columns", "real", "tokens"]
Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Data:
    """Rows to train on, and rows that are held back.

    Attributes:
        x: Inputs.
        y: Targets: class numbers for `"classes"` and `"tokens"` (one at each
            position), 0 and 1 for `"binary"` and `"columns"`.
        x_test: Inputs that are held back.
        y_test: Their true targets, in the form of the clean data set.
        task: What the targets are.
        units: Number of classes or of columns.
        vocabulary: Of integer inputs, how many there are; else 0.
        validation: What `fit` is given as validation data, by default the rows
            that are held back.
    """

    x: Array
    y: Array
    x_test: Array
    y_test: Array
    task: Task
    units: int
    vocabulary: int = 0
    validation: tuple[Array, Array] | None = None


def split(
    x: Array,
    y: Array,
    task: Task,
    units: int = 1,
    *,
    rows: int | None = None,
    test: float = 0.25,
    standardize: bool = False,
    vocabulary: int = 0,
) -> Data:
    """Shuffled, of at most `rows` rows, a share of which is held back."""
    order = np.random.default_rng(0).permutation(len(x))[:rows]
    x = x[order] if x.dtype.kind in "iu" else x[order].astype("float32")
    y = y[order].astype("float32" if task in ("real", "columns") else "int32")
    held = int(len(x) * test)
    if standardize:
        x = (x - x[held:].mean(0)) / (x[held:].std(0) + 1e-7)
    if task == "real":
        y = y.reshape(len(y), -1)
        y = (y - y[held:].mean(0)) / y[held:].std(0)
    return Data(x[held:], y[held:], x[:held], y[:held], task, units, vocabulary)
