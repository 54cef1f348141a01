"""The classes of rows and the amount of each, in one of two forms.

The cheaper form is used: `Indices`, a few class numbers per row, or `Columns`,
an amount for every class.
"""

from __future__ import annotations

from typing import NamedTuple

from keras import ops

from keras_concepts import _backend
from keras_concepts._numerics.dtypes import dtype_of, multiply
from keras_concepts._types import Tensor

# Numbers that are not classes, even after other numbers were added to them: for
# entries that do not count, and for unknown ones, which make a result NaN.
NOWHERE = -(2**30)
UNKNOWN = 2**30


class Indices(NamedTuple):
    """The classes of each row, by number.

    Attributes:
        numbers: `(rows, k)`, integers. Negative numbers do not count; `UNKNOWN`
            or more means an unknown class.
        num_classes: Number of classes.
        amounts: `(rows, k)`, int32 or float32, amount of each; `None` means 1.
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

    def without(self, left_out: Tensor) -> Indices:
        """The rows without the entries to leave out."""
        numbers = _backend.fill(self.numbers, left_out, NOWHERE)
        return Indices(numbers, self.num_classes, self.amounts)

    def scaled(self, factors: Tensor) -> Indices:
        """The rows with each amount times a factor, `(rows, k or 1)`."""
        if self.amounts is not None:
            factors = multiply(self.amounts, factors)
        elif self.numbers.shape[1] != 1:
            factors = ops.broadcast_to(factors, ops.shape(self.numbers))
        return self._replace(amounts=factors)

    @property
    def dtype(self) -> str:
        """Dtype of the amounts: int32 or float32."""
        return "int32" if self.amounts is None else dtype_of(self.amounts)

    def as_float(self) -> Indices:
        """The rows with float32 amounts."""
        return self._replace(amounts=ops.cast(self.filled(), "float32"))

    def filled(self) -> Tensor:
        """The amounts, also where `None` stands for ones."""
        if self.amounts is None:
            return ops.ones_like(self.numbers)
        return self.amounts

    def row_sums(self, chosen: Tensor) -> Tensor:
        """Total of each row over the classes where `chosen` is 1."""
        known = _is_class(self.numbers, self.num_classes)
        factors = ops.take(chosen, ops.where(known, self.numbers, 0))
        amounts = multiply(self.filled(), factors)
        return ops.sum(ops.where(known, amounts, 0), axis=1)

    def unknown_rows(self) -> Tensor:
        """Whether each class is unknown, `(rows, k)`."""
        return self.numbers >= self.num_classes

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
        unknown: Whether a row has an unknown class, `(rows, 1)`, or `None`.
    """

    amounts: Tensor
    unknown: Tensor | None = None

    @property
    def num_classes(self) -> int:
        return self.amounts.shape[1]

    def at(self, numbers: Tensor) -> Tensor:
        """Amounts of the given classes, `(rows, k)`; anything for others."""
        return _backend.at_columns(self.amounts, numbers)

    def scaled(self, factors: Tensor) -> Columns:
        """The rows with each amount multiplied by a factor."""
        return self._replace(amounts=multiply(self.amounts, factors))

    @property
    def dtype(self) -> str:
        """Dtype of the amounts: int32 or float32."""
        return dtype_of(self.amounts)

    def as_float(self) -> Columns:
        """The rows with float32 amounts."""
        return self._replace(amounts=ops.cast(self.amounts, "float32"))

    def row_sums(self, chosen: Tensor) -> Tensor:
        """Total of each row over the classes where `chosen` is 1."""
        return ops.sum(multiply(self.amounts, chosen), axis=1)

    def unknown_rows(self) -> Tensor | None:
        """Whether a row has an unknown class, `(rows, 1)`, or `None`."""
        return self.unknown

    def dense(self) -> Tensor:
        """Amounts of all classes, `(rows, classes)`, float32."""
        return ops.cast(self.amounts, "float32")


Classes = Indices | Columns


def _is_class(numbers: Tensor, num_classes: int) -> Tensor:
    return ops.logical_and(numbers >= 0, numbers < num_classes)


def overlap(labels: Classes, predictions: Classes) -> Classes:
    """What labels and predictions have in common, class by class."""
    if isinstance(predictions, Indices):
        if isinstance(labels, Indices) and labels.amounts is None:
            return predictions.without(predictions.numbers != labels.numbers)
        return predictions.scaled(labels.at(predictions.numbers))
    if isinstance(labels, Indices):
        return labels.scaled(predictions.at(labels.numbers))
    return predictions.scaled(labels.amounts)
