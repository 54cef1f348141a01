"""The base of this package's regularizers."""

from typing import Any, NamedTuple

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._types import Tensor


class PenaltyReport(NamedTuple):
    """What a penalty costs one variable, as Python numbers.

    Attributes:
        terms: Value of each term, by name.
        shares: Share of each term in `value`, from 0 to 1; all 0 if `value`
            is 0.
        value: The penalty, as it is added to the loss.
        gradient_norm: Euclidean norm of the penalty's gradient.
        norm: Euclidean norm of the variable.
        size: Number of entries.
        zeros: How many of them are exactly zero.
        near_zeros: How many are not zero, but at most `near_zero` in size.
    """

    terms: dict[str, float]
    shares: dict[str, float]
    value: float
    gradient_norm: float
    norm: float
    size: int
    zeros: int
    near_zeros: int


class Penalty(keras.regularizers.Regularizer):
    """A regularizer with named terms and a gradient in closed form.

    A subclass defines `terms`, `gradient` and `get_config`.
    """

    def __call__(self, x: Tensor) -> Tensor:
        return sum(self.terms(x).values())

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        """The terms of the penalty, scalars in the dtype of `x`, by name."""
        raise NotImplementedError

    def gradient(self, x: Tensor) -> Tensor:
        """Gradient of the penalty, in the shape and dtype of `x`."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError

    def report(self, x: Tensor, near_zero: float = 1e-3) -> PenaltyReport:
        """What the penalty costs a variable, as Python numbers.

        Args:
            x: Variable or tensor.
            near_zero: Entries up to this size count as near zero.
        """
        x = keras.ops.stop_gradient(keras.ops.convert_to_tensor(x))
        terms = {name: float(term) for name, term in self.terms(x).items()}
        value = sum(terms.values())
        size = np.abs(_to_float64(x))
        return PenaltyReport(
            terms=terms,
            shares={k: v / value if value else 0.0 for k, v in terms.items()},
            value=value,
            gradient_norm=_norm(_to_float64(self.gradient(x))),
            norm=_norm(size),
            size=size.size,
            zeros=int(np.sum(size == 0.0)),
            near_zeros=int(np.sum((size > 0.0) & (size <= near_zero))),
        )


def _to_float64(x: Tensor) -> np.ndarray:
    return _backend.on_host(x).astype(np.float64)


def _norm(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.square(x))))
