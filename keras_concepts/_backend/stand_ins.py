"""What a backend offers where it has nothing to do.

One process trains, or the processes need not agree on anything. The step is not
split into replicas. No optimizer and no state is the framework's own. Tensors
are never written to, and Keras' own implementation is as fast as any.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np

from keras_concepts._types import Tensor


# Tensors that are never written to.
def copied(gradient: Any) -> Any:
    return gradient


def version(tensor: Any) -> int:
    del tensor
    return 0


# One process, or processes that work independently.
def process_count(model: Any) -> int:
    del model
    return 1


def gathered(model: Any, value: Any) -> list[Any]:
    del model
    return [value]


def summed_over_ranks(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return arrays


def gathered_from_ranks(value: Any) -> list[Any]:
    return [value]


# One replica: a batch is never split before the step.
def replica_count(model: Any) -> int:
    del model
    return 1


def has_other_workers(model: Any) -> bool:
    del model
    return False


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    del optimizer
    yield []


def all_reduced(gradients: Sequence[Any]) -> list[Any]:
    return list(gradients)


def of_all_replicas(tensors: Sequence[Tensor]) -> list[Tensor] | None:
    del tensors
    return None


def values_of_replicas(variable: Any) -> list[Tensor]:
    return [keras.ops.convert_to_tensor(variable)]


def assign_to_first_replica(variable: Any, value: Any) -> None:
    variable.assign(value)


# Whatever a layer holds is in Keras variables.
def kept_state(model: Any) -> AbstractContextManager[None]:
    del model
    return nullcontext()


# Only Keras' optimizers.
def is_framework_optimizer(optimizer: Any) -> bool:
    del optimizer
    return False


def framework_updates(
    optimizer: Any, variables: list[Any], record: Callable[..., None]
) -> AbstractContextManager[None]:
    del optimizer, variables, record
    return nullcontext()


# The compiler makes Keras' own dropout fast.
def quick_dropout(rate: float) -> Callable[[Tensor], Tensor] | None:
    del rate
    return None
