"""Compiled functions, and what is different while one is traced."""

from collections.abc import Callable
from typing import Any

import keras
import torch

from keras_concepts._backend.torch.states import kept_state
from keras_concepts._backend.torch.tensors import detached
from keras_concepts._types import Tensor

COMPILES = False
COMPILES_FEW = False


def compiled_pass(
    function: Callable[..., Any],
    model: Any,
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    del eager, few  # PyTorch is always eager
    variables = model.variables

    def run(*tensors: Tensor) -> Any:
        # Keras reads only the scope for the weights that it regularizes.
        mapping = [(v, v.value) for v in variables]
        with (
            kept_state(model),
            keras.StatelessScope(mapping, collect_losses=True),
        ):
            return detached(function(*tensors))

    return run


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    del once
    return function


def current_trace() -> Any:
    return None  # PyTorch is eager


def is_in_trace(tensor: Any, trace: Any) -> bool:
    del tensor, trace
    return True


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    if predicate.device.type == "cpu":
        return if_true() if predicate else if_false()
    return torch.where(predicate, if_true(), if_false())


def choose_rarely(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    with torch.no_grad():
        return if_true() if predicate else if_false()


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    return tensors
