"""Gradients of functions, and the gradients that an optimizer receives."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from keras_concepts._backend.keras_internals import own_value
from keras_concepts._backend.torch.tensors import copied, detached, snapshot
from keras_concepts._types import Tensor


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(leaves)
    scalar = value[0] if has_aux else value
    if not scalar.requires_grad:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    else:
        gradients = torch.autograd.grad(scalar, leaves, materialize_grads=True)
    return detached(value), list(gradients)


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return torch.no_grad()


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    del shape
    return gradient.detach()


def dense_rows(gradient: Any) -> Tensor:
    return gradient.detach()


def is_framework_optimizer(optimizer: Any) -> bool:
    return isinstance(optimizer, torch.optim.Optimizer)


@contextlib.contextmanager
def framework_updates(
    optimizer: torch.optim.Optimizer,
    variables: Sequence[Any],
    record: Callable[..., None],
) -> Iterator[None]:
    owned = [own_value(variable) for variable in variables]
    before: list[Tensor] = []
    gradients: list[Tensor | None] | None = None

    def read() -> list[Tensor | None]:
        # Copies: some optimizers overwrite the gradients.
        known = {
            id(p) for group in optimizer.param_groups for p in group["params"]
        }
        return [
            None if id(p) not in known or p.grad is None else copied(p.grad)
            for p in owned
        ]

    def begin(_: Any, args: Any, kwargs: Any) -> None:
        nonlocal gradients
        before[:] = [snapshot(variable) for variable in variables]
        closure = args[0] if args else kwargs.get("closure")
        # A closure computes the gradients within the step.
        gradients = read() if closure is None else None

    def end(*_: Any) -> None:
        rates = {
            id(parameter): float(group["lr"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        record(
            read() if gradients is None else gradients,
            list(before),
            [rates.get(id(parameter), float("nan")) for parameter in owned],
        )

    hooks = (
        optimizer.register_step_pre_hook(begin),
        optimizer.register_step_post_hook(end),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
