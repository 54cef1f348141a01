"""What is done to data: faults, and forms of the targets."""

import dataclasses
from collections.abc import Callable

import numpy as np

from benchmarks.doctor.data import Array, Data

Change = Callable[[Data], Data]


def chain(*changes: Change) -> Change:
    def change(data: Data) -> Data:
        for each in changes:
            data = each(data)
        return data

    return change


def inputs(function: Callable[[Array], Array]) -> Change:
    """Applies the same to training rows and to held-out rows."""

    def change(data: Data) -> Data:
        return dataclasses.replace(
            data, x=function(data.x), x_test=function(data.x_test)
        )

    return change


def times(factor: float, plus: float = 0.0) -> Change:
    return inputs(lambda x: (x * factor + plus).astype("float32"))


def targets(function: Callable[[Array], Array], test: bool = False) -> Change:
    """Changes the training targets; with `test`, the held-out ones too."""

    def change(data: Data) -> Data:
        y = function(data.y)
        held = function(data.y_test) if test else data.y_test
        validation = (data.x_test, function(data.y_test))
        return dataclasses.replace(
            data, y=y, y_test=held, validation=validation
        )

    return change


def target_times(factor: float, plus: float = 0.0) -> Change:
    return targets(lambda y: (y * factor + plus).astype("float32"), test=True)


def one_hot(data: Data) -> Data:
    """One column for each class; held-out targets keep their numbers."""
    classes = max(data.units, 2)

    def columns(y: Array) -> Array:
        return np.eye(classes, dtype="float32")[y.astype(int)]

    return dataclasses.replace(
        data,
        y=columns(data.y),
        task="one_hot",
        units=classes,
        validation=(data.x_test, columns(data.y_test)),
    )


def two_columns(data: Data) -> Data:
    """Two classes with a softmax."""
    return dataclasses.replace(data, task="classes", units=2)


def as_images(data: Data) -> Data:
    side = round(data.x.shape[-1] ** 0.5)
    return inputs(lambda x: x.reshape(-1, side, side, 1))(data)


def rows_as_steps(data: Data) -> Data:
    """An image is read row by row."""
    side = round(np.prod(data.x.shape[1:]) ** 0.5)
    return inputs(lambda x: x.reshape(-1, side, side))(data)


def only(rows: int) -> Change:
    def change(data: Data) -> Data:
        return dataclasses.replace(data, x=data.x[:rows], y=data.y[:rows])

    return change


def noisy(share: float) -> Change:
    """Replaces some labels by random ones."""

    def change(data: Data) -> Data:
        random = np.random.default_rng(11)
        y = data.y.copy()
        wrong = random.random(len(y)) < share
        y[wrong] = random.integers(0, max(data.units, 2), int(wrong.sum()))
        return dataclasses.replace(data, y=y)

    return change


# Faults.


def shuffle_targets(data: Data) -> Data:
    """The targets were shuffled without the inputs."""
    order = np.random.default_rng(12).permutation(len(data.y))
    return dataclasses.replace(data, y=data.y[order])


def shift_targets(data: Data) -> Data:
    """Off by one row."""
    return dataclasses.replace(data, y=np.roll(data.y, 1, axis=0))


def sort_by_target(data: Data) -> Data:
    order = np.argsort(
        data.y if data.y.ndim == 1 else data.y[:, 0], kind="stable"
    )
    return dataclasses.replace(data, x=data.x[order], y=data.y[order])


def with_bad_value(
    value: float, rows: int = 1, at_rest: bool = False
) -> Change:
    """A value that is not a number in a few rows."""

    def change(data: Data) -> Data:
        x = data.x.astype("float32").copy()
        places = np.random.default_rng(13).choice(len(x), rows, replace=False)
        if at_rest:
            x[places] = value
        else:
            x.reshape(len(x), -1)[places, 0] = value
        return dataclasses.replace(data, x=x)

    return change


def with_bad_target(value: float, rows: int = 3) -> Change:
    def change(data: Data) -> Data:
        y = data.y.astype("float32").copy()
        y[:rows] = value
        return dataclasses.replace(data, y=y)

    return change


def repeat_into_validation(share: float = 0.5) -> Change:
    """Rows were repeated first and split afterwards."""

    def change(data: Data) -> Data:
        held = int(len(data.x) * share)
        return dataclasses.replace(
            data, validation=(data.x[:held], data.y[:held])
        )

    return change


def rare(label: int, share: float) -> Change:
    """Few training rows have the label."""

    def change(data: Data) -> Data:
        mine = np.flatnonzero(data.y == label)
        others = np.flatnonzero(data.y != label)
        kept = mine[: max(int(len(others) * share), 2)]
        order = np.random.default_rng(14).permutation(
            np.concatenate([kept, others])
        )
        return dataclasses.replace(data, x=data.x[order], y=data.y[order])

    return change


def pad_after(steps: int) -> Change:
    """Zeros after the end of every sequence."""

    def pad(x: Array) -> Array:
        width = [(0, 0), (0, steps), *[(0, 0)] * (x.ndim - 2)]
        return np.pad(x, width)

    return inputs(pad)
