"""What layers hold outside of Keras variables."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from keras_concepts._backend.keras_internals import flatten_layers


@contextlib.contextmanager
def kept_state(model: Any) -> Iterator[None]:
    restore = keep_modules(model)
    try:
        yield
    finally:
        restore()


def keep_modules(model: Any) -> Callable[[], None]:
    """Keeps the buffers and modes of all PyTorch modules in a model.

    Args:
        model: A Keras layer or model.

    Returns:
        A function that restores them.
    """
    modes, buffers, values = [], [], []
    for module in _modules(model):
        modes.append((module, module.training))
        if module._buffers:
            buffers.append((module._buffers, dict(module._buffers)))
            values += [
                (buffer, buffer.detach().clone())
                for buffer in module._buffers.values()
                if buffer is not None and not torch.nn.parameter.is_lazy(buffer)
            ]

    def restore() -> None:
        for module, mode in modes:
            if module.training != mode:
                module.training = mode
        # A module may write to a buffer or put another in its place.
        for current, before in buffers:
            current.clear()
            current.update(before)
        for buffer, value in values:
            # As `data`, so that a gradient may still be computed.
            _ = buffer.data.copy_(value)

    return restore


def _modules(model: Any) -> Iterator[torch.nn.Module]:
    """All modules, each once: most Keras layers are no children of another."""
    seen: set[torch.nn.Module] = set()
    for layer in flatten_layers(model):
        for _, module in layer.named_modules(memo=seen):
            yield module
