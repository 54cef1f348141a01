"""Memory on the device that a step writes to."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_concepts._backend.tensorflow.replicas import OfReplicas
from keras_concepts._types import Tensor


class StepBuffer:
    """See the package docstring.

    Each replica of a distribution strategy writes to its own rows.
    """

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._rows = OfReplicas(tf.float32, (capacity, columns))
        self._peaks = OfReplicas(tf.float32, (units,))
        self._count = OfReplicas(tf.int32, ())

    def append(self, row: Tensor, peaks: Tensor) -> None:
        # A step that finds no more data must not count: nothing here may run
        # before the row exists.
        with tf.control_dependencies([row, peaks]):
            count, highest = self._count.here, self._peaks.here
            position = [[count % self.capacity]]
            self._rows.here.scatter_nd_update(position, [row])
            highest.assign(tf.maximum(highest, peaks))
            count.assign_add(1)

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        parts = [
            each.arrays() for each in (self._count, self._peaks, self._rows)
        ]
        # One message between machines if several train.
        own = [
            np.concatenate([part.ravel() for part in replica])
            for replica in zip(*parts, strict=True)
        ]
        units, shape = parts[1][0].size, parts[2][0].shape
        return [
            (
                row[1 + units :].reshape(shape),
                row[1 : 1 + units],
                int(row[0]),
            )
            for row in self._rows.of_all_machines(own)
        ]

    def clear(self) -> None:
        self._peaks.assign(0.0)
        self._count.assign(0)


class Switches:
    """See the package docstring."""

    def __init__(self, count: int) -> None:
        self._flags = OfReplicas(tf.bool, (count,))
        self._count = count
        self._last: list[bool] = [False] * count

    def set(self, flags: Sequence[bool]) -> None:
        if list(flags) != self._last:
            self._last = list(flags)
            self._flags.assign(self._last)

    def values(self) -> list[Tensor]:
        return tf.unstack(self._flags.here, self._count)


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    del buffer  # variables, which the branch writes to

    def run() -> Tensor:
        function()
        return tf.constant(0)

    tf.cond(flag, run, lambda: tf.constant(0))
