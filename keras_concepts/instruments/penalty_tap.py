"""Splitting the loss of a training step, and the pull on each weight."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.listening import Heard
from keras_concepts.instruments.loss_parts import (
    ACTIVITY_PENALTY,
    ADDED_LOSS,
    DATA_LOSS,
)
from keras_concepts.instruments.statistics import l2_norms
from keras_concepts.regularizers.l1_l2 import as_penalty
from keras_concepts.regularizers.penalty import Penalty

LOSS = "loss"
BATCH_SIZE = "batch_size"
APPLIED = "applied"
PENALTY_GRADIENT = "penalty_gradient_norm"
DATA_GRADIENT = "data_gradient_norm"
DECAY_PULL = "decay_pull"


class Column(NamedTuple):
    """One number of a step.

    Attributes:
        quantity: What it is.
        owner: `id` of a variable or layer, name of an output, or `""`.
        name: Path of the variable or layer, each once; name of the output.
    """

    quantity: str
    owner: Any
    name: str


@dataclasses.dataclass
class PenaltySamples:
    """What a tap measured since it was last read, on the host.

    Attributes:
        columns: What was measured.
        steps: Measured steps, of shape `(n,)`.
        values: `(n, len(columns))`.
    """

    columns: list[Column]
    steps: np.ndarray
    values: np.ndarray

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Several in a row of one tap as one."""
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
    """Reduces each step to the parts of its loss and the norms of their pulls.

    Args:
        model: A compiled model.
        variables: Its trainable variables.
        capacity: Number of steps to keep on the device.
    """

    def __init__(
        self, model: Any, variables: Sequence[Any], *, capacity: int
    ) -> None:
        self.model = model
        self.variables = list(variables)
        self.capacity = capacity
        self.regularized = [v for v in variables if v.regularizer is not None]
        self.decay = {
            id(v): share
            for v in self.variables
            if (share := _backend.weight_decay(model.optimizer, v))
        }

    @functools.cached_property
    def columns(self) -> list[Column]:
        """What a row holds; known for certain once a step has been taken."""
        columns = [Column(q, "", "") for q in (LOSS, BATCH_SIZE, APPLIED)]
        columns += [
            Column(DATA_LOSS, name, name)
            for name in ["", *_backend.output_names(self.model)]
        ]
        for layer, name in _named(_backend.flatten_layers(self.model)):
            if layer.activity_regularizer is not None:
                columns.append(Column(ACTIVITY_PENALTY, id(layer), name))
            columns.append(Column(ADDED_LOSS, id(layer), name))
        regularized = set(map(id, self.regularized))
        for variable, name in _named(self.variables):
            quantities = []
            if id(variable) in regularized:
                quantities += penalty_terms(variable.regularizer, variable)
                quantities += [PENALTY_GRADIENT, DATA_GRADIENT]
            if id(variable) in self.decay:
                quantities.append(DECAY_PULL)
            columns += [Column(q, id(variable), name) for q in quantities]
        return columns

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device."""
        return _backend.StepBuffer(self.capacity, len(self.columns), 0)

    def record(self, heard: Heard) -> None:
        """Adds what a step did, inside the step."""
        measured = self._measure(heard)
        row = [
            measured.get((column.quantity, column.owner), _absent(column))
            for column in self.columns
        ]
        self.buffer.append(
            ops.stack([ops.cast(value, "float32") for value in row]),
            ops.zeros((0,)),
        )

    def read(self, steps: Sequence[int]) -> PenaltySamples:
        """Fetches the measured steps, whose numbers are given, and clears."""
        rows, _, count = self.buffer.read()
        self.buffer.clear()
        return PenaltySamples(
            self.columns,
            np.asarray(steps, np.int64),
            np.array(rows[:count], np.float64),
        )

    def _measure(self, heard: Heard) -> dict[tuple[str, Any], Any]:
        loss = math.nan if heard.loss is None else heard.loss
        keys = [(LOSS, ""), *heard.parts]
        scalars = [ops.stop_gradient(loss), *heard.parts.values()]
        position = {id(v): i for i, v in enumerate(heard.variables)}
        gradients = [
            (v, _backend.dense(gradient, v.shape))
            for v in self.regularized
            if id(v) in position
            and (gradient := heard.gradients[position[id(v)]]) is not None
        ]
        watched = [
            v
            for v in heard.variables
            if v.regularizer is not None or id(v) in self.decay
        ]
        # Walled off from the training step, which must not be fused with this.
        tensors = iter(
            _backend.isolate(
                [
                    *map(ops.convert_to_tensor, scalars),
                    *(gradient for _, gradient in gradients),
                    *(heard.before[position[id(v)]] for v in watched),
                ]
            )
        )
        measured = {key: next(tensors) for key in keys}
        measured[BATCH_SIZE, ""] = heard.batch_size
        measured[APPLIED, ""] = heard.applied
        pulls = {id(v): next(tensors) for v, _ in gradients}
        weights = {id(v): next(tensors) for v in watched}
        penalty = {}
        for variable in self.regularized:
            key = id(variable)
            terms, penalty[key] = _penalty(variable.regularizer, weights[key])
            measured |= {(name, key): term for name, term in terms.items()}
        scale = ops.cast(heard.scale, "float32")
        measured |= _norms(PENALTY_GRADIENT, penalty)
        measured |= _norms(
            DATA_GRADIENT,
            {
                key: ops.cast(total, "float32") / scale
                - ops.cast(penalty[key], "float32")
                for key, total in pulls.items()
            },
        )
        rate = ops.cast(heard.rate, "float32") * ops.cast(
            heard.applied, "float32"
        )
        decayed = {key: weights[key] for key in self.decay if key in weights}
        for (quantity, key), norm in _norms(DECAY_PULL, decayed).items():
            measured[quantity, key] = rate * self.decay[key] * norm
        return measured


def _absent(column: Column) -> float:
    """What a step has that was not heard of it."""
    unused = column.quantity in (ACTIVITY_PENALTY, ADDED_LOSS)
    return 0.0 if unused else math.nan


def penalty_terms(regularizer: Any, weight: Any) -> list[str]:
    """Names of the addends of a regularizer, `"penalty"` if it is a stranger.

    Args:
        regularizer: Any Keras regularizer or function.
        weight: Variable or tensor that it is the regularizer of.
    """
    known = as_penalty(regularizer)
    return ["penalty"] if known is None else list(known.terms(weight))


def _penalty(
    regularizer: Any, weight: Tensor
) -> tuple[dict[str, Tensor], Tensor]:
    """Value of each term, and the gradient that the training step had.

    Keras' L1 is differentiated as it is: on JAX its gradient at 0 is not 0.
    """
    if isinstance(regularizer, Penalty):
        return regularizer.terms(weight), regularizer.gradient(weight)
    value, [gradient] = _backend.value_and_grad(
        lambda tensors: ops.sum(regularizer(tensors[0])), [weight]
    )
    known = as_penalty(regularizer)
    terms = {"penalty": value} if known is None else known.terms(weight)
    return terms, gradient


def _norms(
    quantity: str, tensors: dict[Any, Tensor]
) -> dict[tuple[str, Any], Tensor]:
    if not tensors:
        return {}
    values = [ops.cast(tensor, "float32") for tensor in tensors.values()]
    norms = ops.unstack(l2_norms(values), len(values))
    return {
        (quantity, key): norm for key, norm in zip(tensors, norms, strict=True)
    }


def _named(owners: Sequence[Any]) -> list[tuple[Any, str]]:
    """Each with its path; the second of the same path is `path (2)`."""
    counts: dict[str, int] = {}
    named = []
    for owner in owners:
        path = owner.path or owner.name
        counts[path] = counts.get(path, 0) + 1
        named.append(
            (owner, path if counts[path] == 1 else f"{path} ({counts[path]})")
        )
    return named
