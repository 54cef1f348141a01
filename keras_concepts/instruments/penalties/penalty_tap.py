"""The parts of a step's loss, and the norms of the gradients they cause."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._types import Tensor
from keras_concepts.instruments.norms import l2_norms
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.penalties.loss_parts import (
    ACTIVITY_PENALTY,
    ADDED_LOSS,
    DATA_LOSS,
    LossParts,
    capture_loss_parts,
)
from keras_concepts.instruments.step.replicas import (
    mean_over_replicas,
    read_replicas,
)
from keras_concepts.instruments.step.step_record import StepRecord
from keras_concepts.regularizers.l1_l2 import as_penalty
from keras_concepts.regularizers.penalty import Penalty

LOSS = q.BATCH_LOSS
BATCH_SIZE = "batch_size"
APPLIED = q.APPLIED
PENALTY_GRADIENT = q.PENALTY_GRADIENT_NORM
DATA_GRADIENT = q.DATA_GRADIENT_NORM
DECAY_PULL = q.DECAY_PULL
_OF_UPDATE = (APPLIED, PENALTY_GRADIENT, DATA_GRADIENT, DECAY_PULL)


class Column(NamedTuple):
    """One number of a step.

    Attributes:
        quantity: Name of the quantity.
        owner: `id` of a variable or layer, name of an output, or `""`.
        name: Name of the variable, layer or output; see `owner_names`.
    """

    quantity: str
    owner: Any
    name: str


@dataclasses.dataclass
class PenaltySamples:
    """Measurements of a tap since it was last read, on the host.

    Attributes:
        columns: The measured numbers.
        steps: Measured steps, of shape `(n,)`.
        values: `(n, len(columns))`.
    """

    columns: list[Column]
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Consecutive samples of one tap as one."""
        return dataclasses.replace(
            samples[0],
            steps=np.concatenate([s.steps for s in samples]),
            values=np.concatenate([s.values for s in samples]),
        )

    def quantity(self, name: str, owner: Any = "") -> np.ndarray:
        """One column, of shape `(n,)`."""
        keys = [(column.quantity, column.owner) for column in self.columns]
        return self.values[:, keys.index((name, owner))]


class PenaltyTap:
    """Reduces each step to the parts of its loss and their gradient norms.

    Args:
        model: A compiled model.
        capacity: Number of steps to keep on the device.
    """

    def __init__(self, model: Any, *, capacity: int) -> None:
        self.model = model
        self.capacity = capacity

    @functools.cached_property
    def variables(self) -> list[Any]:
        """The variables that the model trains."""
        return list(self.model.trainable_variables)

    @functools.cached_property
    def regularized(self) -> list[Any]:
        """The variables that have a regularizer."""
        return [v for v in self.variables if v.regularizer is not None]

    @functools.cached_property
    def decayed(self) -> set[int]:
        """`id` of each variable that an optimizer of the model may decay."""
        optimizers = _backend.optimizers_of(self.model)
        return {
            id(v)
            for v in self.variables
            if any(_backend.weight_decay(o, v) for o in optimizers)
        }

    @functools.cached_property
    def columns(self) -> list[Column]:
        """The columns of a row, certain once a step has been taken."""
        columns = [Column(q, "", "") for q in (LOSS, BATCH_SIZE, APPLIED)]
        columns += [
            Column(DATA_LOSS, name, name)
            for name in ["", *_backend.output_names(self.model)]
        ]
        names = owner_names(self.model, self.variables)
        for layer in _backend.flatten_layers(self.model):
            name = names.of(layer)
            if layer.activity_regularizer is not None:
                columns.append(Column(ACTIVITY_PENALTY, id(layer), name))
            columns.append(Column(ADDED_LOSS, id(layer), name))
        regularized = set(map(id, self.regularized))
        for variable in self.variables:
            name, quantities = names.of(variable), []
            if id(variable) in regularized:
                quantities += penalty_terms(variable)
                quantities += [PENALTY_GRADIENT, DATA_GRADIENT]
            if id(variable) in self.decayed:
                quantities.append(DECAY_PULL)
            columns += [Column(q, id(variable), name) for q in quantities]
        return columns

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        return _backend.StepBuffer(self.capacity, len(self.columns), 0)

    def capture(
        self, step: StepRecord
    ) -> contextlib.AbstractContextManager[LossParts]:
        """Captures the parts of the step's loss."""
        return capture_loss_parts(step)

    def record(self, step: StepRecord, captured: LossParts) -> None:
        """Adds a step to the buffer, inside the step."""
        measured = self._measure(step, captured)
        row = [
            measured.get((column.quantity, column.owner), _absent(column))
            for column in self.columns
        ]
        self.buffer.append(
            ops.stack([_float32(value) for value in row]),
            ops.zeros((0,), "float32"),
        )

    def read(self, steps: Sequence[int]) -> PenaltySamples:
        """Fetches the measured steps, with the given numbers, and clears."""
        rows, _, count = read_replicas(self.buffer)
        quantities = [column.quantity for column in self.columns]
        sizes = rows[..., quantities.index(BATCH_SIZE)]
        values = rows[0].copy()
        for i, quantity in enumerate(quantities):
            if quantity == BATCH_SIZE:
                values[:, i] = sizes.sum(axis=0)
            elif quantity not in _OF_UPDATE:  # the same in all replicas
                values[:, i] = mean_over_replicas(rows[..., i], sizes)
        return PenaltySamples(
            self.columns, np.asarray(steps, np.int64)[:count], values
        )

    def _measure(self, step: StepRecord, parts: LossParts) -> LossParts:
        update = step.update
        isolated = step.isolated
        measured = dict(parts)
        measured[LOSS, ""] = (
            math.nan if isolated.loss is None else isolated.loss
        )
        measured[BATCH_SIZE, ""] = step.batch_size
        measured[APPLIED, ""] = update.applied
        place = {id(v): i for i, v in enumerate(update.variables)}
        weights = {key: isolated.before[i] for key, i in place.items()}
        penalties = {}
        for variable in self.regularized:
            key = id(variable)
            if key in weights:
                terms, gradient = _penalty(variable.regularizer, weights[key])
                measured |= {(name, key): term for name, term in terms.items()}
                penalties[key] = _float32(gradient)
        rests = {
            key: isolated.gradients[place[key]]
            / _float32(update.scales[place[key]])
            - penalty
            for key, penalty in penalties.items()
            if isolated.gradients[place[key]] is not None
        }
        applied = _float32(update.applied)
        decays = {
            key: _float32(update.rates[i]) * applied * share
            for key, i in place.items()
            if (share := _share(update.optimizers[i], update.variables[i]))
        }
        decayed = {key: weights[key] for key in decays if key in weights}
        for quantity, tensors, factors in (
            (PENALTY_GRADIENT, penalties, {}),
            (DATA_GRADIENT, rests, {}),
            (DECAY_PULL, decayed, decays),
        ):
            for key, norm in _norms(tensors).items():
                measured[quantity, key] = factors.get(key, 1.0) * norm
        return measured


def _absent(column: Column) -> float:
    """Value of a column that is not part of a step."""
    unused = column.quantity in (ACTIVITY_PENALTY, ADDED_LOSS)
    return 0.0 if unused else math.nan


def _share(optimizer: Any, variable: Any) -> float:
    return (
        0.0 if optimizer is None else _backend.weight_decay(optimizer, variable)
    )


def penalty_terms(variable: Any) -> list[str]:
    """Names of the terms of a regularizer, `OTHER_PENALTY` if not known."""
    known = as_penalty(variable.regularizer)
    if known is None:
        return [q.OTHER_PENALTY]
    # The variable may have no value now (on JAX, during an epoch).
    return list(known.terms(ops.zeros(variable.shape, variable.dtype)))


def _penalty(
    regularizer: Any, weight: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Value of each term, and its gradient in the training step.

    Keras' L1 is differentiated as is: on JAX its gradient at 0 is not 0.
    """
    if isinstance(regularizer, Penalty):
        return regularizer.terms(weight), regularizer.gradient(weight)
    value, [gradient] = _backend.value_and_grad(
        lambda tensors: ops.sum(regularizer(tensors[0])), [weight]
    )
    known = as_penalty(regularizer)
    if known is None:
        return {str(q.OTHER_PENALTY): value}, gradient
    return known.terms(weight), gradient


def _norms(tensors: dict[int, Tensor]) -> dict[int, Tensor]:
    if not tensors:
        return {}
    norms = l2_norms([_float32(tensor) for tensor in tensors.values()])
    return dict(zip(tensors, ops.unstack(norms, len(tensors)), strict=True))


def _float32(x: Any) -> Tensor:
    return ops.cast(x, "float32")
