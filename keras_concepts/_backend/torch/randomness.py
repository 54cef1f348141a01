"""The random generators that are shared."""

import contextlib
import functools
from collections.abc import Callable, Iterator

import torch

from keras_concepts._backend.keras_internals import (
    Generator,
    kept_common_randomness,
    other_threads_train,
)
from keras_concepts._types import Tensor


def kept_randomness() -> contextlib.AbstractContextManager[None]:
    devices = range(torch.cuda.device_count())
    return kept_common_randomness(
        *[
            Generator(
                functools.partial(torch.cuda.get_rng_state, device),
                functools.partial(torch.cuda.set_rng_state, device=device),
                torch.equal,
            )
            for device in devices
        ]
    )


@contextlib.contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    # `keras.layers.Dropout` without a seed draws from the global generator, as
    # do other threads that train: they must not get the same numbers twice.
    if other_threads_train():
        yield
        return
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        _ = torch.manual_seed(seed)
        yield


def quick_dropout(rate: float) -> Callable[[Tensor], Tensor] | None:
    def drop(x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return torch.dropout(x, rate, True)
        # A comparison of uniform numbers: on a CPU `torch.dropout` draws entry
        # by entry, which takes as long as a small layer.
        keep = torch.rand(x.shape) < 1.0 - rate
        return torch.where(keep, x / (1.0 - rate), 0.0)

    return drop
