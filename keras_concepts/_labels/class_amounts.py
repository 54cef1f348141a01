"""Which classes rows have, and how much of each, in two forms.

The cheaper one is taken: `Indices`, a few class numbers per row, or `Columns`,
an amount for every class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.dtypes import dtype_of, multiply
from keras_concepts._types import Tensor

# A number that is no class, also after the numbers of others were added to it.
NOWHERE = -(2**30)


class Indices(NamedTuple):
    """The classes of each row, by number.

    Attributes:
        numbers: `(rows, k)` int32. Negative is no class and counts nowhere.
        num_classes: Number of classes.
        amounts: `(rows, k)`, int32 or float32, how much of it; or `None`, one.
    """

    numbers: Tensor
    num_classes: int
    amounts: Tensor | None = None

    def at(self, numbers: Tensor) -> Tensor:
        """Amounts of the given classes; needs one number per row."""
        same = numbers == self.numbers
        if self.amounts is None:
            return ops.cast(same, "int32")
        return ops.where(same, self.amounts, 0)

    def where(self, chosen: Tensor) -> Indices:
        """Only the chosen of them."""
        numbers = ops.where(chosen, self.numbers, NOWHERE)
        return self._replace(numbers=numbers)

    def scaled(self, factors: Tensor) -> Indices:
        """With each amount times a factor, of shape `(rows, k or 1)`."""
        if self.amounts is not None:
            factors = multiply(self.amounts, factors)
        elif self.numbers.shape[1] != 1:
            factors = ops.broadcast_to(factors, ops.shape(self.numbers))
        return self._replace(amounts=factors)

    @property
    def dtype(self) -> str:
        """That of the amounts: int32 or float32."""
        return "int32" if self.amounts is None else dtype_of(self.amounts)

    def as_float(self) -> Indices:
        """With amounts of float32."""
        return self._replace(amounts=ops.cast(self.filled(), "float32"))

    def filled(self) -> Tensor:
        """The amounts, also where they are ones."""
        if self.amounts is None:
            return ops.ones_like(self.numbers)
        return self.amounts

    def sums(self) -> Any:
        """Total of each class, as `_backend.segment_sums` gives it."""
        return _backend.segment_sums(
            self.filled(), self.numbers, self.num_classes
        )

    def row_sums(self, chosen: Tensor) -> Tensor:
        """Total of each row over the classes where `chosen` is 1."""
        known = self.numbers >= 0
        factors = ops.take(chosen, ops.where(known, self.numbers, 0))
        amounts = multiply(self.filled(), factors)
        return ops.sum(ops.where(known, amounts, 0), axis=1)

    def dense(self) -> Tensor:
        """Amounts of all classes, `(rows, classes)`, float32."""
        return ops.sum(
            ops.one_hot(self.numbers, self.num_classes, dtype="float32")
            * ops.cast(self.filled(), "float32")[..., None],
            axis=1,
        )


class Columns(NamedTuple):
    """An amount for every class.

    Attributes:
        amounts: `(rows, classes)`, int32 or float32.
    """

    amounts: Tensor

    @property
    def num_classes(self) -> int:
        return self.amounts.shape[1]

    def at(self, numbers: Tensor) -> Tensor:
        """Amounts of the given classes, `(rows, k)`."""
        known = numbers >= 0
        found = ops.take_along_axis(
            self.amounts, ops.where(known, numbers, 0), axis=1
        )
        return ops.where(known, found, 0)

    def scaled(self, factors: Tensor) -> Columns:
        """With each amount times a factor."""
        return Columns(multiply(self.amounts, factors))

    @property
    def dtype(self) -> str:
        """That of the amounts: int32 or float32."""
        return dtype_of(self.amounts)

    def as_float(self) -> Columns:
        """With amounts of float32."""
        return Columns(ops.cast(self.amounts, "float32"))

    def sums(self) -> Any:
        """Total of each class, as `_backend.column_sums` gives it."""
        return _backend.column_sums(self.amounts)

    def row_sums(self, chosen: Tensor) -> Tensor:
        """Total of each row over the classes where `chosen` is 1."""
        return ops.sum(multiply(self.amounts, chosen), axis=1)

    def dense(self) -> Tensor:
        """Amounts of all classes, `(rows, classes)`, float32."""
        return ops.cast(self.amounts, "float32")


Classes = Indices | Columns


def overlap(labels: Classes, predictions: Classes) -> Classes:
    """What labels and predictions have in common, class by class."""
    if isinstance(predictions, Indices):
        if isinstance(labels, Indices) and labels.amounts is None:
            return predictions.where(predictions.numbers == labels.numbers)
        return predictions.scaled(labels.at(predictions.numbers))
    if isinstance(labels, Indices):
        return labels.scaled(predictions.at(labels.numbers))
    return predictions.scaled(labels.amounts)
