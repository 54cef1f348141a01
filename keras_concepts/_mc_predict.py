"""Predictions of the ensemble that dropout trains."""

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._batches import (
    agreed,
    check_agreed,
    check_model,
    dense_inputs,
    native,
)
from keras_concepts._dropout_family import dropout_on
from keras_concepts._validation import check_positive_int, checked_seed

# How far a row of probabilities may be from a sum of 1, for half precision.
_TOLERANCE = 1e-2
# Samples to draw before the host reads them: reading all takes little more work
# than reading one, and JAX continues meanwhile.
_AT_ONCE = 8
_TINY = np.finfo(np.float64).tiny


class MCPrediction(NamedTuple):
    """Statistics over the samples, each a float64 array.

    Attributes:
        mean: Mean output, `(n, ..., units)`: the ensemble's prediction.
        std: Standard deviation of the outputs, `(n, ..., units)`, with divisor
            `samples`, not `samples - 1`.
        entropy: Entropy of the mean, `(n, ...)`, in nats, from 0 to
            `log(classes)`: the total uncertainty. `None` if the outputs are not
            probabilities.
        mutual_information: The part of the entropy due to disagreement in the
            ensemble, `(n, ...)`, in nats, from 0 to `entropy`, which more
            training data could reduce. `None` if the outputs are not
            probabilities.
    """

    mean: np.ndarray
    std: np.ndarray
    entropy: np.ndarray | None
    mutual_information: np.ndarray | None


def mc_predict(
    model: Any,
    x: Any,
    samples: int = 30,
    batch_size: int = 32,
    seed: int | None = None,
    *,
    probabilities: bool | None = None,
) -> Any:
    """Predicts many times with dropout on, and returns mean and spread.

    Monte-Carlo dropout (Gal & Ghahramani 2016): each pass through the network
    with units dropped is a draw from an approximate posterior over its weights.

    - mean `m = 1/S Σ_s p_s` and standard deviation `sqrt(1/S Σ_s (p_s - m)²)`
    - entropy `H[m]`, with `H[p] = -Σ_c p_c log p_c`
    - mutual information `H[m] - 1/S Σ_s H[p_s]` (Houlsby et al. 2011, eq. 2)

    Any trained model works, saved or not, functional, nested or subclassed.
    Only the dropout family is random: `Dropout`, `SpatialDropout1D` to `3D`,
    `AlphaDropout`, `GaussianDropout`, `GaussianNoise` and their subclasses, and
    the dropout inside recurrent cells and attention layers. Everything else is
    in inference mode, above all batch normalization. A layer that calls
    `keras.random.dropout` itself, or checks `if training:` before it calls its
    dropout, behaves as in `predict`: it is random only if it always drops.

    The model is not changed: neither weights, statistics, random states nor
    compiled functions. Only one pass of one batch, and a few of its outputs,
    are in memory at a time. If several processes train the model on JAX, each
    must call this with the same `x`.

    Args:
        model: Built Keras model without stateful recurrent layers.
        x: Arrays as for `model.predict`: `(n, ...)`, or a list, tuple or dict
            of these.
        samples: Number of passes of each batch.
        batch_size: Number of rows in a batch.
        seed: Integer for the same result each time (with the same
            `batch_size`). `None` draws one from Python's `random`, as Keras
            does.
        probabilities: Whether the last axis of the output holds probabilities:
            of all classes, as from a softmax, or of one, as from a single
            sigmoid unit. `None` decides by the outputs: they must be in [0, 1]
            and, with more than one unit, sum to 1; rows of NaN are ignored.
            Pass `False` for a regression of one unit between 0 and 1. Several
            sigmoid units (multi-label) are not probabilities in this sense.

    Returns:
        `MCPrediction`; for a model with several outputs, the same structure of
        these.

    Raises:
        TypeError: `x` does not hold arrays, or `model` is not a Keras model.
        ValueError: The model is not random or has a stateful layer, `x` has no
            rows or arrays of different lengths, the outputs are not
            probabilities despite `probabilities=True`, or `samples` or
            `batch_size` is below 1.

    Example:

    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8,)),
    ...         keras.layers.Dropout(0.5),
    ...         keras.layers.Dense(3, activation="softmax"),
    ...     ]
    ... )
    >>> prediction = mc_predict(model, np.ones((4, 8)), samples=10, seed=0)
    >>> prediction.mean.shape, prediction.entropy.shape
    ((4, 3), (4,))
    >>> bool((prediction.mutual_information < prediction.entropy).all())
    True
    """
    check_model("mc_predict", model, keras.Model)
    check_positive_int("mc_predict", "samples", samples)
    check_positive_int("mc_predict", "batch_size", batch_size)
    if seed is not None:
        seed = checked_seed("mc_predict", seed)
    x = keras.tree.map_structure(_array, x)
    check_agreed("mc_predict", "x", model, x)
    _check_stateless(model)
    with (
        dropout_on(model) as layers,
        _seeded(model, seed),
        _backend.batch_predictor(model) as predict,
    ):
        if not layers:
            _check_random(model, predict, next(_batches(x, batch_size)))
        batches = [
            _sample(predict, batch, samples)
            for batch in _batches(x, batch_size)
        ]
    return keras.tree.map_structure(
        lambda *parts: _summary(parts, probabilities), *batches
    )


class _Statistics:
    """Running sums over the samples of one batch (Chan et al. 1983)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = 0.0
        self.squares: Any = 0.0
        self.entropy: Any = 0.0
        self.are_probabilities = True

    def add(self, outputs: np.ndarray) -> None:
        """Adds samples, stacked along the first axis."""
        outputs = outputs.astype(np.float64)
        before, added = self.count, len(outputs)
        self.count += added
        mean = outputs.mean(axis=0)
        distance = mean - self.mean
        self.mean = self.mean + distance * (added / self.count)
        self.squares = (
            self.squares
            + np.square(outputs - mean).sum(axis=0)
            + np.square(distance) * (before * added / self.count)
        )
        units = outputs if outputs.ndim > 2 else outputs[..., np.newaxis]
        self.are_probabilities = self.are_probabilities and _are_probabilities(
            units
        )
        if self.are_probabilities:
            self.entropy = self.entropy + _entropy(units).sum(axis=0)


def _sample(predict: Callable[[Any], Any], batch: Any, samples: int) -> Any:
    """`_Statistics` of each output, in the structure of the outputs."""
    batch = _fed(batch)
    statistics = None
    for start in range(0, samples, _AT_ONCE):
        count = min(_AT_ONCE, samples - start)
        outputs = keras.tree.map_structure(
            _stacked, *[predict(batch) for _ in range(count)]
        )
        if statistics is None:
            statistics = keras.tree.map_structure(
                lambda _: _Statistics(), outputs
            )
        _ = keras.tree.map_structure(_Statistics.add, statistics, outputs)
    return statistics


def _stacked(*outputs: Any) -> np.ndarray:
    return np.stack([_backend.on_host(output) for output in outputs])


def _summary(
    parts: tuple[_Statistics, ...], probabilities: bool | None
) -> MCPrediction:
    samples = parts[0].count
    mean = np.concatenate([part.mean for part in parts])
    squares = np.concatenate([part.squares for part in parts])
    std = np.sqrt(squares / samples)
    are_probabilities = all(part.are_probabilities for part in parts)
    if probabilities and not are_probabilities:
        raise ValueError(
            "`probabilities=True` of `mc_predict` needs outputs in [0, 1] "
            "that, with more than one unit, sum to 1 over the last axis. "
            f"Received: outputs of shape {mean.shape}, with means from "
            f"{mean.min():.3g} to {mean.max():.3g}."
        )
    if probabilities is False or not are_probabilities:
        return MCPrediction(mean, std, None, None)
    entropy = _entropy(mean)
    each = np.concatenate([part.entropy for part in parts]) / samples
    return MCPrediction(mean, std, entropy, np.maximum(entropy - each, 0.0))


def _entropy(p: np.ndarray) -> np.ndarray:
    """`-Σ_c p_c log p_c` over the last axis; one unit means `[p, 1 - p]`."""
    p = _with_units(p)
    if p.shape[-1] == 1:
        p = np.concatenate([p, np.maximum(1.0 - p, 0.0)], axis=-1)
    return 0.0 - np.sum(p * np.log(np.maximum(p, _TINY)), axis=-1)


def _are_probabilities(p: np.ndarray) -> bool:
    """Whether the outputs are probabilities, ignoring rows of NaN."""
    p = _with_units(p)
    if np.isnan(p.min()):
        p = p[~np.isnan(p).any(axis=-1)]
        if not p.size:
            return True
    if p.min() < 0.0 or p.max() > 1.0 + _TOLERANCE:
        return False
    return p.shape[-1] == 1 or bool(
        np.abs(p.sum(axis=-1) - 1.0).max() <= _TOLERANCE
    )


def _with_units(p: np.ndarray) -> np.ndarray:
    return p if p.ndim > 1 else p[:, np.newaxis]


def _batches(x: Any, batch_size: int) -> Iterator[Any]:
    rows = {len(array) for array in keras.tree.flatten(x)}
    if len(rows) != 1 or rows == {0}:
        raise ValueError(
            "`x` of `mc_predict` must hold arrays of the same length, at least "
            f"1. Received: lengths {sorted(rows)}."
        )
    for start in range(0, rows.pop(), batch_size):
        part = slice(start, start + batch_size)
        yield keras.tree.map_structure(lambda array, s=part: array[s], x)


def _array(x: Any) -> np.ndarray:
    if not len(getattr(x, "shape", ())):
        raise TypeError(
            "`x` of `mc_predict` must be arrays with at least one axis, or a "
            "list, tuple or dict of these, but not an iterator of batches: "
            "concatenate the batches, or call it for each. Received: "
            f"{type(x).__name__}."
        )
    if keras.ops.is_tensor(x) or hasattr(x, "toarray"):
        return _backend.on_host(dense_inputs("mc_predict", "x", x))
    # Only one batch at a time is on the device.
    try:
        rows = np.asarray(native(x))
    except (TypeError, ValueError):
        return _backend.on_host(dense_inputs("mc_predict", "x", x))
    _ = dense_inputs("mc_predict", "x", rows[:1])
    return rows


def _fed(batch: Any) -> Any:
    return keras.tree.map_structure(keras.ops.convert_to_tensor, batch)


def _check_random(
    model: Any, predict: Callable[[Any], Any], batch: Any
) -> None:
    """Raises unless a model without the dropout family is random anyway.

    As with a custom layer that always drops.
    """
    batch = _fed(batch)
    first, *others = (
        [_backend.on_host(x) for x in keras.tree.flatten(outputs)]
        for outputs in (predict(batch) for _ in range(_AT_ONCE))
    )
    if all(
        np.array_equal(a, b, equal_nan=True)
        for other in others
        for a, b in zip(first, other, strict=True)
    ):
        raise ValueError(
            "`mc_predict` needs a model that is random: one with a dropout "
            "layer at a rate above 0, or with a layer that is random in "
            "`predict` too. (A layer of your own that drops only `if training` "
            "must be derived from `keras.layers.Dropout`.) Received: model "
            f"{model.name!r}, whose {_AT_ONCE} predictions of the first batch "
            "are equal."
        )


def _check_stateless(model: Any) -> None:
    for layer in _backend.flatten_layers(model):
        if getattr(layer, "stateful", False):
            raise ValueError(
                "`mc_predict` passes each batch through the model many times, "
                "which a stateful layer would remember. Received: layer "
                f"{layer.name!r} with stateful=True."
            )


@contextlib.contextmanager
def _seeded(model: Any, seed: int | None) -> Iterator[None]:
    """Temporarily gives each random state in the model its own seed."""
    weights = {id(variable) for variable in model.weights}
    # Other non-weights hold measurements of layers.
    states = [
        variable
        for variable in model.variables
        if id(variable) not in weights and "int" in variable.dtype
    ]
    # Copies: an array may share its memory with the variable.
    before = [np.array(_backend.on_host(state)) for state in states]
    if seed is None:
        seed = agreed(model, random.getrandbits(32))
    draw = np.random.default_rng(seed)
    for state in states:
        state.assign(np.array([draw.integers(2**31), 0], state.dtype))
    try:
        with _backend.fixed_randomness(int(draw.integers(2**31))):
            yield
    finally:
        for state, value in zip(states, before, strict=True):
            state.assign(value)
