"""A penalty that makes whole groups of weights zero together."""

import math
from typing import Any

from keras import ops

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_int, checked_number
from keras_concepts.regularizers.penalty import Penalty


@serializable
class GroupLasso(Penalty):
    """Sum of group norms: `strength * Σ_g sqrt(p_g) * ‖x_g‖`.

    A group is everything that one index along `axis` selects, and `p_g` is its
    number of weights, so that large and small groups cost the same (Yuan & Lin
    2006, eq. 2.1). The norm is not squared: a group is pulled towards zero as a
    whole, with a force that does not fade as it shrinks.

    By default a group holds the weights of one input feature: a row of the
    kernel of `Dense` and `Embedding`, an input channel of `Conv`. A feature
    whose group is zero no longer needs to be collected (Scardapane et al.
    2017). With `axis=-1` a group holds the weights of one output unit or
    filter, which can then be removed from the layer.

    Gradient: `strength * sqrt(p_g) * x_g / ‖x_g‖`, 0 at a zero group.

    Args:
        strength: Factor, at least 0.
        axis: Axis whose indices are the groups.

    Raises:
        ValueError: `strength` is negative or not finite, or the variable it is
            called with has no such axis.
        TypeError: `axis` is not an integer.

    Example:

    >>> import numpy as np
    >>> kernel = np.array([[3.0, 4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    >>> regularizer = GroupLasso(0.5)
    >>> float(regularizer(kernel.astype("float32")))
    5.0
    >>> float(GroupLasso(1.0, axis=-1)(kernel.astype("float32").T))
    10.0
    """

    def __init__(self, strength: float = 0.01, axis: int = -2) -> None:
        self.strength = checked_number(
            "GroupLasso", "strength", strength, low=0
        )
        self.axis = checked_int("GroupLasso", "axis", axis)

    def terms(self, x: Tensor) -> dict[str, Tensor]:
        self._check_rank(x)
        factor = self._factor(x)
        return {"group_lasso": factor * ops.sum(group_norms(x, self.axis))}

    def gradient(self, x: Tensor) -> Tensor:
        self._check_rank(x)
        return self._factor(x) * group_directions(x, self.axis)

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength, "axis": self.axis}

    def _factor(self, x: Tensor) -> Tensor:
        size = math.prod(x.shape) // max(1, x.shape[self.axis])
        return ops.cast(self.strength * math.sqrt(size), x.dtype)

    def _check_rank(self, x: Tensor) -> None:
        rank = len(x.shape)
        if not -rank <= self.axis < rank:
            raise ValueError(
                f"`GroupLasso(axis={self.axis})` needs a variable with such an "
                "axis. For a vector, such as a bias, `axis=-1` makes each "
                "entry a group. Received: a variable of shape "
                f"{tuple(x.shape)}."
            )


def group_norms(x: Tensor, axis: int) -> Tensor:
    """Norm of each group, `(x.shape[axis],)`, with gradient 0 at 0."""
    groups = ops.reshape(ops.moveaxis(x, axis, 0), (x.shape[axis], -1))
    squares = ops.sum(ops.square(groups), axis=1)
    zero = ops.equal(squares, 0.0)
    # The square root must not see a zero, even where it is not selected: its
    # gradient would be infinity times zero.
    roots = ops.sqrt(ops.where(zero, ops.ones_like(squares), squares))
    return ops.where(zero, ops.zeros_like(roots), roots)


def group_directions(x: Tensor, axis: int) -> Tensor:
    """Each group divided by its norm, in the shape of `x`; 0 if it is zero."""
    norms = group_norms(x, axis)
    shape = [1] * len(x.shape)
    shape[axis] = -1
    safe = ops.where(ops.equal(norms, 0.0), ops.ones_like(norms), norms)
    return ops.convert_to_tensor(x) / ops.reshape(safe, shape)
