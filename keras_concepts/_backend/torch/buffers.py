"""Memory on the device that a step writes to."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from keras_concepts._types import Tensor


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

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        if self._rows is None:
            return [(np.zeros(self._shape), np.zeros(self._units), 0)]
        # Copies: on the CPU the arrays would share the tensors' memory.
        rows, peaks = self._rows.cpu(), self._peaks.cpu()
        return [(rows.numpy().copy(), peaks.numpy().copy(), self._count)]

    def clear(self) -> None:
        if self._peaks is not None:
            self._peaks.zero_()
        self._count = 0


class Switches:
    """See the package docstring."""

    def __init__(self, count: int) -> None:
        self._flags = [False] * count

    def set(self, flags: Sequence[bool]) -> None:
        self._flags = list(flags)

    def values(self) -> list[bool]:
        return self._flags


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    del buffer  # written in place
    if flag:
        function()
