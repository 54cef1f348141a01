"""How a program is defined: data, network and the arguments of `fit`."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.doctor.data import Array, Data

Net = Callable[[Data, Any], Any]

_HEADS = {
    "classes": "softmax",
    "tokens": "softmax",
    "one_hot": "softmax",
    "binary": "sigmoid",
    "columns": "sigmoid",
    "real": "linear",
}
_LOSSES = {
    "classes": "sparse_categorical_crossentropy",
    "tokens": "sparse_categorical_crossentropy",
    "one_hot": "categorical_crossentropy",
    "binary": "binary_crossentropy",
    "columns": "binary_crossentropy",
    "real": "mse",
}


@dataclasses.dataclass(frozen=True)
class Fit:
    """One call of `fit`, ready to be made, or a loop of several.

    Attributes:
        model: Compiled.
        arguments: Of `fit`; `callbacks` is a list.
        gain: What the trained model has learned: 1 is perfect, 0 is the best
            constant prediction. On rows that are held back.
        reported: What its author believes it has learned, on the same scale,
            if that can be something else.
        constant_loss: Validation loss of the best constant prediction.
        train: Calls `fit` several times, each time with the callbacks that it
            is given, and yields each history; `arguments` are not used then.
    """

    model: Any
    arguments: dict[str, Any]
    gain: Callable[[Any], float]
    reported: Callable[[Any], float] | None = None
    constant_loss: float | None = None
    train: Callable[[list[Any]], Iterator[Any]] | None = None


def fit(
    model: Any,
    x: Any,
    y: Any,
    epochs: int,
    judge: Callable[[Any], float],
    **arguments: Any,
) -> Fit:
    return Fit(
        model,
        {"x": x, "y": y, "epochs": epochs, "batch_size": 32, **arguments},
        judge,
    )


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A program without surprises: compile, then `fit`.

    Attributes:
        data: Gives the data set.
        net: Builds the network from the data and its last layer.
        change: What is done to the data, faulty or not.
        optimizer: Makes the optimizer.
        loss: For `compile`; `EachTime` makes a new one for each model.
        epochs: As planned.
        batch: Rows a batch.
        head: Activation of the last layer.
        units: Of the last layer.
        head_arguments: Further arguments of the last layer.
        threshold: What is above it counts as class 1.
        prepare: Called with the model before `compile`.
        prepare_data: Called with model and data before `compile`, to adapt a
            layer or to train first.
        feed: How `fit` gets the rows: `"arrays"`, `"dataset"` of the backend's
            own kind, `"generator"` or `"pydataset"`.
        validation: `"held"`, `"split"` or nothing.
        metrics: Of `compile`.
        fit: Further arguments of `fit`; functions are called to get them.
        compile: Further arguments of `compile`; functions likewise.
        reported: Key of the logs that the author believes.
    """

    data: Callable[[], Data]
    net: Net
    change: Callable[[Data], Data] | None = None
    optimizer: Callable[[], Any] = lambda: keras.optimizers.Adam(3e-3)
    loss: Any = None
    epochs: int = 10
    batch: int = 32
    head: str | None = None
    units: int | None = None
    head_arguments: dict[str, Any] | None = None
    threshold: float = 0.5
    prepare: Callable[[Any], None] | None = None
    prepare_data: Callable[[Any, Data], None] | None = None
    feed: str = "arrays"
    validation: str = ""
    metrics: tuple[Any, ...] = ()
    fit: dict[str, Any] | None = None
    compile: dict[str, Any] | None = None
    reported: str = ""

    def build(self) -> Fit:
        data = self.data()
        if self.change is not None:
            data = self.change(data)
        model = self.net(data, self.last_layer(data))
        if self.prepare is not None:
            self.prepare(model)
        if self.prepare_data is not None:
            self.prepare_data(model, data)
        loss = self.loss or _LOSSES[data.task]
        model.compile(
            self.optimizer(),
            loss.make() if isinstance(loss, EachTime) else loss,
            metrics=[m() if callable(m) else m for m in self.metrics] or None,
            **made(self.compile),
        )
        key = self.reported
        return Fit(
            model,
            {**self.rows(data), "epochs": self.epochs, **made(self.fit)},
            lambda m: gain(data, predicted(m, data), self.threshold),
            (lambda m: scaled(data, m.history.history[key][-1]))
            if key
            else None,
            constant_loss(data) if self.loss is None else None,
        )

    def last_layer(self, data: Data) -> Any:
        activation = self.head or _HEADS[data.task]
        return layers.Dense(
            self.units or data.units,
            activation,
            name="head",
            **made(self.head_arguments),
        )

    def rows(self, data: Data) -> dict[str, Any]:
        given: dict[str, Any]
        match self.feed:
            case "arrays":
                given = {"x": data.x, "y": data.y, "batch_size": self.batch}
            case "generator":
                steps = len(data.x) // self.batch
                given = {
                    "x": endless(data.x, data.y, self.batch),
                    "steps_per_epoch": steps,
                }
            case "pydataset":
                given = {"x": Batches(data.x, data.y, self.batch)}
            case _:
                given = {"x": dataset(data.x, data.y, self.batch)}
        if self.validation == "split":
            given["validation_split"] = 0.2
        elif self.validation == "held":
            held = data.validation or (data.x_test, data.y_test)
            given["validation_data"] = held
        return given


class EachTime:
    """A function that makes a new loss for each model."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make


def made(arguments: dict[str, Any] | None) -> dict[str, Any]:
    """The arguments; those that are functions are called."""
    return {
        key: value() if callable(value) else value
        for key, value in (arguments or {}).items()
    }


def endless(x: Array, y: Array, batch: int) -> Any:
    random = np.random.default_rng(0)
    while True:
        order = random.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            rows = order[start : start + batch]
            yield x[rows], y[rows]


class Batches(keras.utils.PyDataset):
    """Batches of arrays, in a new order each epoch."""

    def __init__(self, x: Array, y: Array, batch: int) -> None:
        super().__init__()
        self.x, self.y, self.batch = x, y, batch
        self.order = np.random.default_rng(0).permutation(len(x))

    def __len__(self) -> int:
        return -(-len(self.x) // self.batch)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        rows = self.order[index * self.batch : (index + 1) * self.batch]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self) -> None:
        np.random.default_rng(len(self.order)).shuffle(self.order)


def dataset(x: Array, y: Array, batch: int) -> Any:
    """A data set of the backend's own kind."""
    if keras.backend.backend() == "torch":
        import torch

        rows = torch.utils.data.TensorDataset(
            torch.as_tensor(x), torch.as_tensor(y)
        )
        return torch.utils.data.DataLoader(rows, batch, shuffle=True)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        rows = tf.data.Dataset.from_tensor_slices((x, y))
        return rows.shuffle(len(x)).batch(batch)
    return Batches(x, y, batch)


# What was learned.


def predicted(model: Any, data: Data) -> Array:
    prediction = model.predict(data.x_test, verbose=0)
    if isinstance(prediction, (list, tuple)):
        prediction = prediction[0]
    if isinstance(prediction, dict):
        prediction = next(iter(prediction.values()))
    return np.asarray(prediction, "float64")


def gain(data: Data, prediction: Array, threshold: float = 0.5) -> float:
    """1 for perfect predictions, 0 for the best constant one.

    R² of numbers, else balanced accuracy, moved so that a constant prediction
    gets 0; of tokens, accuracy beyond that of the most frequent one.
    """
    truth = np.asarray(data.y_test)
    match data.task:
        case "real":
            return r_squared(truth, prediction.reshape(truth.shape))
        case "columns":
            right = prediction > threshold
            return float(
                np.mean(
                    [
                        balanced(t, p, 2)
                        for t, p in zip(truth.T, right.T, strict=True)
                    ]
                )
            )
        case "tokens":
            share = np.bincount(truth.ravel()).max() / truth.size
            right = np.mean(prediction.argmax(-1) == truth)
            return float((right - share) / (1.0 - share))
        case "binary":
            return balanced(truth, binary(prediction, threshold), 2)
    return balanced(truth, prediction.argmax(-1), data.units)


def binary(prediction: Array, threshold: float) -> Array:
    if prediction.ndim > 1 and prediction.shape[-1] > 1:
        return prediction.argmax(-1)
    return (prediction.reshape(len(prediction)) > threshold).astype(int)


def balanced(truth: Array, prediction: Array, classes: int) -> float:
    recalls = [
        np.mean(prediction[truth == c] == c)
        for c in range(classes)
        if np.any(truth == c)
    ]
    chance = 1.0 / len(recalls)
    return float((np.mean(recalls) - chance) / (1.0 - chance))


def r_squared(truth: Array, prediction: Array) -> float:
    """At least -1, which is also that of predictions that are not finite."""
    if not np.isfinite(prediction).all():
        return -1.0
    error = np.mean((truth - prediction) ** 2)
    return float(max(1.0 - error / np.var(truth, axis=0).mean(), -1.0))


def constant_loss(data: Data) -> float:
    """Of the loss that goes with the task, for the best constant prediction."""
    truth = np.asarray(data.y_test, "float64")
    match data.task:
        case "real":
            return float(np.var(truth, axis=0).mean())
        case "binary" | "columns":
            share = np.clip(truth.mean(0), 1e-6, 1.0 - 1e-6)
            entropy = share * np.log(share) + (1 - share) * np.log(1 - share)
            return float(-np.mean(entropy))
    shares = np.bincount(truth.ravel().astype(int)) / truth.size
    shares = shares[shares > 0.0]
    return float(-np.sum(shares * np.log(shares)))


def scaled(data: Data, accuracy: float) -> float:
    """A plain accuracy, on the scale of `gain`."""
    truth = np.asarray(data.y_test).ravel().astype(int)
    share = np.bincount(truth).max() / truth.size
    return float((accuracy - share) / (1.0 - share))
