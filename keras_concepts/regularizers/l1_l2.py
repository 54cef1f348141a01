"""Penalties on the size of each weight."""

from typing import Any

import keras
from keras import ops

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_number
from keras_concepts.regularizers.penalty import Penalty


@serializable
class L1(Penalty):
    """Sum of absolute values: `l1 * sum(|x|)`.

    Pulls each weight towards zero with the same force, however small it is
    (Tibshirani 1996). A gradient step rarely ends exactly at zero; the steps of
    `constraints.SoftThreshold` do.

    Gradient: `l1 * sign(x)`, 0 at 0 on every backend. (`keras.regularizers.L1`
    has the same value, but on JAX its gradient at 0 is `l1`.)

    Args:
        l1: Factor, at least 0.

    Raises:
        ValueError: `l1` is negative or not finite.

    Example:

    >>> import numpy as np
    >>> regularizer = L1(0.5)
    >>> float(regularizer(np.array([3.0, -4.0], "float32")))
    3.5
    >>> regularizer.get_config()
    {'l1': 0.5}
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = checked_number("L1", "l1", l1, low=0)

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        return {"l1": l1_penalty(x, self.l1)}

    def gradient(self, x: Tensor) -> Tensor:
        return l1_gradient(x, self.l1)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


@serializable
class L2(Penalty):
    """Sum of squares: `l2 * sum(x²)`.

    Shrinks each weight in proportion to its size (ridge regression, Hoerl &
    Kennard 1970), so it makes weights small but not zero. As in Keras, and
    unlike most papers, there is no factor ½.

    Gradient: `2 * l2 * x`.

    Args:
        l2: Factor, at least 0.

    Raises:
        ValueError: `l2` is negative or not finite.

    Example:

    >>> import numpy as np
    >>> regularizer = L2(0.5)
    >>> float(regularizer(np.array([3.0, -4.0], "float32")))
    12.5
    >>> regularizer.get_config()
    {'l2': 0.5}
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = checked_number("L2", "l2", l2, low=0)

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        return {"l2": l2_penalty(x, self.l2)}

    def gradient(self, x: Tensor) -> Tensor:
        return l2_gradient(x, self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


@serializable
class L1L2(Penalty):
    """Elastic net: `l1 * sum(|x|) + l2 * sum(x²)`.

    The square keeps the weights of correlated features together, where L1 alone
    would pick one of them (Zou & Hastie 2005).

    Gradient: `l1 * sign(x) + 2 * l2 * x`.

    Args:
        l1: Factor of the absolute values, at least 0.
        l2: Factor of the squares, at least 0.

    Raises:
        ValueError: `l1` or `l2` is negative or not finite.

    Example:

    >>> import numpy as np
    >>> regularizer = L1L2(l1=1.0, l2=0.5)
    >>> report = regularizer.report(np.array([3.0, -4.0, 0.0], "float32"))
    >>> report.terms
    {'l1': 7.0, 'l2': 12.5}
    >>> report.norm, report.zeros
    (5.0, 1)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = checked_number("L1L2", "l1", l1, low=0)
        self.l2 = checked_number("L1L2", "l2", l2, low=0)

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        return {"l1": l1_penalty(x, self.l1), "l2": l2_penalty(x, self.l2)}

    def gradient(self, x: Tensor) -> Tensor:
        return l1_gradient(x, self.l1) + l2_gradient(x, self.l2)

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


def as_penalty(regularizer: Any) -> Penalty | None:
    """The same regularizer as a `Penalty`, with terms, gradient and report.

    Args:
        regularizer: A `Penalty`, which is returned unchanged, or `L1`, `L2` or
            `L1L2` from `keras.regularizers`.

    Returns:
        The `Penalty`, or `None` for any other regularizer: its gradient has no
        known closed form.

    Example:

    >>> as_penalty(keras.regularizers.L2(0.25)).get_config()
    {'l2': 0.25}
    >>> as_penalty(lambda x: 0.0) is None
    True
    """
    if isinstance(regularizer, Penalty):
        return regularizer
    # A subclass may have changed the formula.
    kind = type(regularizer)
    if kind is keras.regularizers.L1:
        return L1(float(regularizer.l1))
    if kind is keras.regularizers.L2:
        return L2(float(regularizer.l2))
    if kind is keras.regularizers.L1L2:
        return L1L2(float(regularizer.l1), float(regularizer.l2))
    return None


def l1_penalty(x: Tensor, factor: float) -> Tensor:
    """`factor * sum(|x|)`, with the gradient of `l1_gradient`."""
    # JAX gives |x| a derivative of 1 at 0, which would move exact zeros.
    x = ops.convert_to_tensor(x)
    absolute = x * ops.stop_gradient(ops.sign(x))
    return ops.cast(factor, x.dtype) * ops.sum(absolute)


def l1_gradient(x: Tensor, factor: float) -> Tensor:
    """`factor * sign(x)`."""
    return ops.cast(factor, x.dtype) * ops.sign(x)


def l2_penalty(x: Tensor, factor: float) -> Tensor:
    """`factor * sum(x²)`."""
    return ops.cast(factor, x.dtype) * ops.sum(ops.square(x))


def l2_gradient(x: Tensor, factor: float) -> Tensor:
    """`2 * factor * x`."""
    return ops.cast(2.0 * factor, x.dtype) * ops.convert_to_tensor(x)
