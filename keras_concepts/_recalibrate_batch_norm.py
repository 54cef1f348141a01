"""Setting moving statistics to those of the data."""

import itertools
from collections.abc import Iterator, Set
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._batches import (
    as_fed,
    check_agreed,
    check_model,
    dense_inputs,
)
from keras_concepts._numerics.moments import Moments
from keras_concepts._validation import check_positive_int
from keras_concepts.instruments.batch_norm.training_pass import TrainingPass


def recalibrate_batch_norm(
    model: Any, data: Any, batch_size: int = 32, *, steps: int | None = None
) -> None:
    r"""Sets the moving statistics of batch normalization to those of `data`.

    A moving average with momentum 0.99 still holds $0.99^k$ of its initial
    value after $k$ batches: 82% after 20, 1% after 460. Until then the model at
    inference differs from the model in training. Instead, this computes for
    each channel, over all rows (and positions) of the data, in float64,

    $$\mu = \frac{1}{n} \sum_i x_i \qquad
        \sigma^2 = \frac{1}{n} \sum_i (x_i - \mu)^2$$

    of the inputs $x$ of every batch normalization layer. A smaller last batch
    has a smaller weight, and padding that a mask leaves out has none.

    The data passes through once, as in training: each layer normalizes its
    batch by the batch's own statistics. So the later layers get the inputs that
    they were trained with, and one pass is enough. Use the batch size of
    training, since the inputs depend on it a little. PyTorch's `update_bn` and
    fvcore's PreciseBN do the same, but `update_bn` averages the variances of
    the batches, which ignores how their means differ; this function and
    PreciseBN do not.

    Dropout is off, since it widens the inputs and is also off at inference.
    Other random layers, such as augmentation, are on. Nothing else in the model
    changes: neither other weights, random states, metrics, optimizer nor
    compiled functions. Frozen layers (`layer.trainable = False`) stay
    unchanged, and so do those that the model calls with `training=False`: the
    other layers were trained with their moving statistics. So a model whose
    `call` takes no `training`, which Keras' `fit` runs in inference mode, is
    refused; if your own `train_step` calls it with `training=True`, add that
    argument to its `call`. A shared layer gets the statistics of all its calls
    together. If several processes train the model on JAX, each must call this
    with the same data.

    Args:
        model: A built model.
        data: Inputs as for `model.predict`: an array, or a list, tuple or dict
            of arrays, one for each input. Or batches, `x` or `(x, y)` or
            `(x, y, sample_weight)`, of which only `x` is used: a
            `keras.utils.PyDataset`, a `tf.data.Dataset`, a `DataLoader`, a
            generator or another iterator.
        batch_size: Number of rows in a batch, if `data` holds arrays.
        steps: Number of batches to use; `None` for all.

    Raises:
        TypeError: `data` is none of these, `batch_size` or `steps` is not an
            integer, or `model` is not a Keras model.
        ValueError: The model is not built or has no batch normalization in
            training mode, one has `renorm=True`; `data` is empty, its arrays
            differ in length, or NaN or infinity reaches a layer (the model is
            then unchanged); `batch_size` or `steps` is below 1.

    Source: Wu & Johnson (2021), *Rethinking "Batch" in BatchNorm*, section 3;
    Izmailov et al. (2018), *Averaging weights leads to wider optima*, section
    3.2.

    Example:

    >>> model = keras.Sequential(
    ...     [keras.Input((1,)), keras.layers.BatchNormalization()]
    ... )
    >>> recalibrate_batch_norm(model, np.array([[1.0], [2.0], [6.0]]), 2)
    >>> [round(float(w[0]), 3) for w in model.get_weights()[2:]]
    [3.0, 4.667]
    """
    owner = "recalibrate_batch_norm"
    check_model(owner, model, keras.Model)
    check_positive_int(owner, "batch_size", batch_size)
    if steps is not None:
        check_positive_int(owner, "steps", steps)
    _check(model)
    training = TrainingPass(model)
    found = [_Population() for _ in training.layers]
    batches = itertools.islice(_batches(data, batch_size), steps)
    for number, x in enumerate(batches, start=1):
        x = as_fed(dense_inputs(owner, "data", x))
        check_agreed(owner, "data", model, x)
        moments = training.moments(x)
        for layer, population, calls in zip(
            training.layers, found, moments, strict=True
        ):
            for each in calls:
                population.add(each)
            if not population.is_finite:
                raise ValueError(
                    "`data` of `recalibrate_batch_norm` must be finite where "
                    "it reaches batch normalization. Received: NaN, infinite "
                    f"or too large inputs of {layer.path!r} in batch {number} "
                    "(counted from 1). The model is unchanged."
                )
    if not any(np.any(population.count) for population in found):
        raise ValueError(
            "`recalibrate_batch_norm` needs at least one row of data and one "
            "batch normalization layer that uses the statistics of its batch "
            "in training. Received: no row, or only layers that are frozen, "
            "called with `training=False`, or in a model whose `call` takes no "
            "`training`, which Keras' `fit` runs in inference mode."
        )
    for layer, population in zip(training.layers, found, strict=True):
        if np.all(population.count):
            layer.moving_mean.assign(population.mean)
            layer.moving_variance.assign(population.squares / population.count)


class _Population:
    """Moments of several batches together, in float64 (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count: Any = 0.0
        self.mean: Any = 0.0
        self.squares: Any = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether no number has become NaN or infinite."""
        return bool(
            np.isfinite(self.mean).all() & np.isfinite(self.squares).all()
        )

    def add(self, batch: Moments) -> None:
        """Adds a batch."""
        added, mean, rest, squares = (
            _backend.on_host(x).astype("float64") for x in batch
        )
        before = self.count
        self.count = before + added
        distance = mean + rest - self.mean
        share = added / np.maximum(self.count, 1.0)
        self.mean = self.mean + distance * share
        self.squares = self.squares + squares + distance**2 * before * share


def _batches(data: Any, batch_size: int) -> Iterator[Any]:
    """Inputs, batch by batch."""
    if isinstance(data, str | bytes | Set) or not _backend.is_dense(data):
        raise TypeError(
            "`data` of `recalibrate_batch_norm` must be dense arrays, or "
            f"batches of them. Received: a {type(data).__name__}."
        )
    if isinstance(data, list | tuple | dict) or hasattr(data, "shape"):
        if isinstance(data, list | tuple) and len(data) == 1:
            [data] = data
        arrays = keras.tree.flatten(data)
        lengths = {_length(array) for array in arrays}
        if len(lengths) != 1:
            raise ValueError(
                "Arrays in `data` of `recalibrate_batch_norm` must have the "
                "same length, one for each input of the model (for a list of "
                "batches pass `iter(batches)`). Received: lengths "
                f"{sorted(lengths)}."
            )
        for start in range(0, lengths.pop(), batch_size):
            yield keras.tree.map_structure(
                lambda array, start=start: array[start : start + batch_size],
                data,
            )
        return
    if isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        indices = itertools.count() if count is None else range(count)
        data = map(data.__getitem__, indices)
    try:
        iterator = iter(data)
    except TypeError as error:
        raise TypeError(
            "`data` of `recalibrate_batch_norm` must be arrays, or an iterable "
            f"of batches. Received: {type(data).__name__}."
        ) from error
    for batch in iterator:
        x, _, _ = keras.utils.unpack_x_y_sample_weight(batch)
        yield x


def _length(array: Any) -> int:
    try:
        return len(array)
    except TypeError as error:
        raise TypeError(
            "`data` of `recalibrate_batch_norm` must hold arrays with at least "
            f"one axis. Received: {type(array).__name__}."
        ) from error


def _check(model: Any) -> None:
    if not model.built:
        raise ValueError(
            "`recalibrate_batch_norm` needs a built model. Received: "
            f"{model.name!r}, which has not been called yet."
        )
    for layer in TrainingPass(model).layers:
        if getattr(layer, "renorm", False):  # Keras 3.13 and newer
            raise ValueError(
                "`recalibrate_batch_norm` does not support batch "
                "renormalization, with which training and inference already "
                f"agree. Received: layer {layer.name!r} with renorm=True."
            )
