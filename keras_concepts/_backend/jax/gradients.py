"""Gradients of functions, and the gradients that an optimizer receives."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import jax

from keras_concepts._backend import stand_ins
from keras_concepts._types import Tensor

is_framework_optimizer = stand_ins.is_framework_optimizer
framework_updates = stand_ins.framework_updates


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    return jax.value_and_grad(function, has_aux=has_aux)(list(tensors))


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext()  # JAX differentiates functions


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    del shape
    return gradient


def dense_rows(gradient: Any) -> Tensor:
    return gradient
