"""Scores as functions of counts, without state or epsilons."""

from keras import ops

from keras_concepts._types import Tensor


def ratio(numerator: Tensor, denominator: Tensor, otherwise: float) -> Tensor:
    """A quotient, or another value where the denominator is zero."""
    known = denominator != 0
    safe = ops.where(known, denominator, 1)
    return ops.where(known, numerator / safe, otherwise)


def precision(
    hits: Tensor, predicted: Tensor, true: Tensor, zero_division: float
) -> Tensor:
    """Share of the predicted that is true."""
    del true
    return ratio(hits, predicted, zero_division)


def recall(
    hits: Tensor, predicted: Tensor, true: Tensor, zero_division: float
) -> Tensor:
    """Share of the true that was predicted."""
    del predicted
    return ratio(hits, true, zero_division)


def fbeta(
    hits: Tensor,
    predicted: Tensor,
    true: Tensor,
    zero_division: float,
    beta: float = 1.0,
) -> Tensor:
    """Harmonic mean of precision and recall, with recall `beta**2` times."""
    # The fractions inside the mean cancel: precision and recall may be
    # undefined where F-beta is 0.
    square = beta**2
    return ratio((1 + square) * hits, square * true + predicted, zero_division)


def mean(
    values: Tensor, weights: Tensor, undefined: Tensor, otherwise: float
) -> Tensor:
    """Weighted mean of the values that are defined.

    If all weights are 0, the plain mean, as in scikit-learn; without values,
    `otherwise`.
    """
    values = ops.where(undefined, 0, values)
    weights = ops.where(undefined, 0, weights)
    equal = ops.cast(ops.logical_not(undefined), values.dtype)
    weights = ops.where(ops.sum(weights) == 0, equal, weights)
    return ratio(ops.sum(values * weights), ops.sum(weights), otherwise)
