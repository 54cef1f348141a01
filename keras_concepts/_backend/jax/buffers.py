"""Memory on the device that a step writes to."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from keras_concepts._backend.jax.tensors import on_host
from keras_concepts._types import Tensor


class StepBuffer:
    """See the package docstring.

    Inside a train function made by `observed_train_function`, `state` is a
    tracer that the function carries. Nothing carries it inside any other
    compiled function, so there rows are sent to the host as they are made.
    """

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._shape = (capacity, columns)
        self._units = units
        self.state = self._empty()

    def _empty(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            jnp.zeros(self._shape, jnp.float32),
            jnp.zeros((self._units,), jnp.float32),
            jnp.zeros((), jnp.int32),
        )

    def append(self, row: Tensor, peaks: Tensor) -> None:
        carried = isinstance(self.state[2], jax.core.Tracer)
        if isinstance(row, jax.core.Tracer) and not carried:
            _check_one_device()
            jax.debug.callback(self._append, row, peaks, ordered=True)
        else:
            self._append(row, peaks)

    def _append(self, row: Tensor, peaks: Tensor) -> None:
        rows, highest, count = self.state
        self.state = (
            rows.at[count % self.capacity].set(row),
            jnp.maximum(highest, peaks),
            count + 1,
        )

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        jax.effects_barrier()
        rows, peaks, count = self.state
        return [(on_host(rows), on_host(peaks), int(count))]

    def clear(self) -> None:
        self.state = self._empty()


def _check_one_device() -> None:
    distribution = keras.distribution.distribution()
    if distribution is None:
        return
    devices = distribution.device_mesh.devices.size
    if devices > 1:
        raise ValueError(
            "`GradientTap` cannot measure a step that `jax.jit` compiles for "
            "several devices: JAX does not send rows from it in order. Train "
            "with `model.fit` and `callbacks.GradientMonitor`, which measures "
            "under every distribution. Received: a distribution over "
            f"{devices} devices."
        )


class Switches:
    """See the package docstring. Carried like a `StepBuffer`."""

    def __init__(self, count: int) -> None:
        self.state = jnp.zeros((count,), bool)

    def set(self, flags: Sequence[bool]) -> None:
        self.state = jnp.asarray(flags, bool)

    def values(self) -> list[Tensor]:
        return list(self.state)


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    if not isinstance(flag, jax.core.Tracer):
        if flag:
            function()
        return
    before = buffer.state

    def run(state: Any) -> Any:
        buffer.state = state
        function()
        return buffer.state

    try:
        after = jax.lax.cond(flag, run, lambda state: state, before)
    finally:
        buffer.state = before
    buffer.state = after
