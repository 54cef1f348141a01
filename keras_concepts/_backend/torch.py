"""Torch: eager steps, state in tensors that are written in place."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch

from keras_concepts._shadow import shadow
from keras_concepts._types import Tensor

END_OF_DATA = (StopIteration,)
shadow_in_step = shadow


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable).detach().clone()


def dense_rows(gradient: Any) -> Tensor:
    return gradient.detach()


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).square()


def peaks(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors, float("inf")))


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    if predicate.device.type == "cpu":
        return if_true() if predicate else if_false()
    return torch.where(predicate, if_true(), if_false())


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    return tensors


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    del optimizer  # DistributedDataParallel reduces inside backward()
    yield []


class StepBuffer:
    """See the package docstring."""

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._rows: Tensor = None
        self._peaks: Tensor = None
        self._shape = (capacity, columns)
        self._units = units
        self._count = 0

    def append(self, row: Tensor, peaks: Tensor) -> None:
        if self._rows is None:
            self._rows = row.new_zeros(self._shape)
            self._peaks = peaks.new_zeros((self._units,))
        with torch.no_grad():
            self._rows[self._count % self.capacity] = row
            torch.maximum(self._peaks, peaks, out=self._peaks)
        self._count += 1

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        if self._rows is None:
            return np.zeros(self._shape), np.zeros(self._units), 0
        # Copies: on the CPU the arrays would share the tensors' memory.
        rows, peaks = self._rows.cpu(), self._peaks.cpu()
        return rows.numpy().copy(), peaks.numpy().copy(), self._count

    def clear(self) -> None:
        if self._peaks is not None:
            self._peaks.zero_()
        self._count = 0


def observed_train_function(
    model: Any,
    observe: Callable[[], contextlib.AbstractContextManager[Any]],
    buffers: Sequence[Any],
) -> Callable[..., Any]:
    del buffers  # written in place
    previous = model.train_function
    model.make_train_function(force=True)
    step, model.train_function = model.train_function, previous

    def observed(data: Any) -> Any:
        with observe():
            return step(data)

    return observed


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    previous = model.predict_function
    model.make_predict_function(force=True)
    step, model.predict_function = model.predict_function, previous
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield lambda batch: step([(batch,)])
    finally:
        for module, mode in modes:
            module.training = mode


@contextlib.contextmanager
def global_randomness(seed: int) -> Iterator[None]:
    # Keras' dropout without a seed is torch's own.
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        _ = torch.manual_seed(seed)
        yield
