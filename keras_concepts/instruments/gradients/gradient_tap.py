"""The gradients of a training run, as its optimizer receives them."""

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Sequence
from typing import Any, Self

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._batches import check_model
from keras_concepts._validation import check_positive_int
from keras_concepts.instruments.call_order import CallOrder
from keras_concepts.instruments.gradients.statistics import (
    BATCH_SIZE,
    STEP_COLUMNS,
    VARIABLE_COLUMNS,
    measure,
    row_length,
)
from keras_concepts.instruments.gradients.units import (
    UnitSource,
    layer_widths,
    unit_count,
    unit_sources,
)
from keras_concepts.instruments.owners import OwnerNames, owner_names
from keras_concepts.instruments.roles import layers_of_variables, roles_of
from keras_concepts.instruments.step.capture_updates import capture_updates
from keras_concepts.instruments.step.framework_updates import (
    capture_framework_updates,
)
from keras_concepts.instruments.step.replicas import (
    mean_over_replicas,
    read_replicas,
)
from keras_concepts.instruments.step.step_record import StepRecord

_NO_VARIABLE = (
    "`variables` of `GradientTap` must hold at least one trainable variable, "
    "or `model` be a built model that has some. Received: no variable."
)


@dataclasses.dataclass
class GradientSamples:
    """Measurements of a tap since it was last read, on the host.

    Attributes:
        paths: Name of each variable: its `path`, in the order in which the
            model calls its layers. The variables of the second layer of the
            same path are under `path (2)`.
        sizes: Number of entries of each variable.
        steps: Measured steps, of shape `(n,)`, counted from 0.
        loss: Loss of the batch, `(n,)`; NaN where it is not known.
        applied: 1 where the step updated the weights, else 0, `(n,)`.
        values: `(n, variables, 5)`: `VARIABLE_COLUMNS` of each variable. NaN
            where the variable had no gradient.
        unit_peaks: For each layer that has units, the largest absolute gradient
            that each unit received in any measured step, `(units,)`.
        layers: Layer of each variable; `""` if it is not known.
        roles: Role of each variable in its layer, such as `quantities.WEIGHT`.
    """

    paths: list[str]
    sizes: np.ndarray
    steps: np.ndarray
    loss: np.ndarray
    applied: np.ndarray
    values: np.ndarray
    unit_peaks: dict[str, np.ndarray]
    layers: list[str] = dataclasses.field(default_factory=list)
    roles: list[str] = dataclasses.field(default_factory=list)

    def quantity(self, name: str) -> np.ndarray:
        """One of `VARIABLE_COLUMNS` for all variables, `(n, variables)`."""
        return self.values[:, :, VARIABLE_COLUMNS.index(name)]

    @classmethod
    def joined(cls, samples: Sequence[Self]) -> Self:
        """Consecutive samples of one tap as one."""
        first = samples[0]
        return dataclasses.replace(
            first,
            steps=np.concatenate([s.steps for s in samples]),
            loss=np.concatenate([s.loss for s in samples]),
            applied=np.concatenate([s.applied for s in samples]),
            values=np.concatenate([s.values for s in samples]),
            unit_peaks={
                layer: np.max([s.unit_peaks[layer] for s in samples], axis=0)
                for layer in first.unit_peaks
            },
        )

    @property
    def global_norm(self) -> np.ndarray:
        """L2 norm of all gradients together, `(n,)`; NaN if there is none."""
        squares = self.sizes * self.quantity(q.GRADIENT_RMS) ** 2
        # A missing gradient has no count of non-finite entries.
        absent = np.isnan(self.quantity(q.GRADIENT_NONFINITE))
        squares[absent] = 0.0
        norms = np.sqrt(squares.sum(axis=1))
        return np.where(absent.all(axis=1), np.nan, norms)

    @property
    def dead_units(self) -> dict[str, np.ndarray]:
        """Units without a gradient in any step, for layers with known units."""
        return {
            layer: np.flatnonzero(peaks == 0.0)
            for layer, peaks in self.unit_peaks.items()
            if not np.isnan(peaks).any()
        }


class GradientTap:
    """Measures every step of a training loop of your own.

    Inside the with-block each `optimizer.apply` (or `stateless_apply`) is
    reduced on the device to a few numbers per variable. Nothing is recomputed
    and the update is the same, bit for bit. In `model.fit` use
    `callbacks.GradientMonitor` instead, which reads the same numbers.

    On PyTorch the same holds for each `optimizer.step()` of a `torch.optim`
    optimizer. Under `DistributedDataParallel` its gradients are the mean over
    all processes, so every process measures the same.

    (Inside `tf.function(jit_compile=True)` the rounding may differ: a second
    reader of the gradients may change what XLA fuses.)

    A compiled training step must be traced inside the with-block, and must not
    be used after it: open one block around all epochs, and call `read` in it. A
    block in which the optimizer was not seen ends with a warning.

    The last `capacity` steps are kept until `read` is called. In a function
    compiled by `jax.jit` each row is sent to the host when it is made, since
    the loop does not carry the buffer from call to call. JAX can only do so
    from a single device, so a step compiled for several devices is refused.

    Args:
        optimizer: A Keras optimizer, or on PyTorch one of `torch.optim`.
        variables: The variables its gradients belong to. By default those that
            `model` trains.
        capacity: Number of steps to keep.
        model: Model whose layers own the variables. Without it, layers are
            inferred from the paths of the variables.

    Raises:
        TypeError: `optimizer` is neither, or `model` is not a Keras model.
        ValueError: There are no variables, or `capacity` is below 1, or, on
            entering the with-block, the optimizer is used by several replicas.

    Example:

    ```python
    with GradientTap(optimizer, model.trainable_variables) as tap:
        for x, y in batches:
            train_step(x, y)
    samples = tap.read()
    samples.quantity("gradient_rms")  # (steps, variables)
    ```
    """

    def __init__(
        self,
        optimizer: Any,
        variables: Sequence[Any] | None = None,
        *,
        capacity: int = 1024,
        model: Any = None,
    ) -> None:
        check_positive_int("GradientTap", "capacity", capacity)
        if not isinstance(
            optimizer, keras.optimizers.Optimizer
        ) and not _backend.is_framework_optimizer(optimizer):
            raise TypeError(
                "`optimizer` of `GradientTap` must be a "
                "`keras.optimizers.Optimizer`, or on PyTorch a "
                "`torch.optim.Optimizer`. Received: an object of type "
                f"{type(optimizer).__name__}."
            )
        if model is not None:
            check_model("GradientTap", model)
        self.optimizer = optimizer
        self.capacity = capacity
        self.model: Any = model
        self._given = None if variables is None else list(variables)
        if self._given == [] or (variables is None and model is None):
            raise ValueError(_NO_VARIABLE)
        # Done here because on JAX a layer cannot tell during an epoch.
        self._widths = layer_widths(model)
        self._first_step = 0
        self._stack = contextlib.ExitStack()

    @functools.cached_property
    def variables(self) -> list[Any]:
        """The measured variables, in this order."""
        # A model without an input shape has no variables before its first step.
        given = self._given
        return list(self.model.trainable_variables) if given is None else given

    @functools.cached_property
    def unit_sources(self) -> dict[str, list[UnitSource]]:
        """See `unit_sources`."""
        return unit_sources(self.variables, self._names, self._widths)

    @functools.cached_property
    def buffer(self) -> Any:
        """Rows on the device, and a peak for each unit."""
        return _backend.StepBuffer(
            self.capacity,
            row_length(self.variables),
            sum(self._units.values()),
        )

    @functools.cached_property
    def _names(self) -> OwnerNames:
        return owner_names(self.model, self.variables)

    @functools.cached_property
    def _units(self) -> dict[str, int]:
        return {
            layer: unit_count(sources[0], self.variables)
            for layer, sources in self.unit_sources.items()
        }

    @functools.cached_property
    def _call_order(self) -> CallOrder | None:
        return None if self.model is None else CallOrder(self.model)

    def __enter__(self) -> Self:
        if not self.variables:
            raise ValueError(_NO_VARIABLE)
        replicas = _backend.replica_count(self.optimizer)
        if replicas > 1:  # each applies it in its own thread
            raise ValueError(
                "`GradientTap` needs an optimizer that is used by one replica, "
                "since it cannot see the others in a custom training loop. "
                f"Received: an optimizer of {replicas} replicas. Use "
                "`callbacks.GradientMonitor` in `model.fit`."
            )
        # Created here, since a compiled step may be traced next.
        _ = self.buffer
        step = StepRecord(model=self.model)

        self._is_used = False

        def record() -> None:
            self._is_used = True
            self.record(step)
            step.forget()

        capture = capture_updates(step, self.optimizer, then=record)
        if not isinstance(self.optimizer, keras.optimizers.Optimizer):
            capture = capture_framework_updates(
                step, self.optimizer, self.variables, then=record
            )
        self._stack.enter_context(capture)
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()
        if not self._is_used and not any(exception):
            warnings.warn(
                "`GradientTap` saw no call of the optimizer in its with-block. "
                "A training step that was compiled earlier, such as that of "
                "`train_on_batch`, cannot be measured: open one block around "
                "the first step and all others, and call `read` in it.",
                UserWarning,
                stacklevel=2,
            )

    def capture(
        self, step: StepRecord
    ) -> contextlib.AbstractContextManager[None]:
        """Captures the order in which layers are called, if not known."""
        del step
        if self._call_order is None:
            return contextlib.nullcontext()
        return self._call_order.capture()

    def record(self, step: StepRecord, captured: None = None) -> None:
        """Adds a step to the buffer, inside the step."""
        del captured
        sources = list(self.unit_sources.values())
        self.buffer.append(*measure(step, self.variables, sources))

    def read(self, steps: Sequence[int] | None = None) -> GradientSamples:
        """Fetches the measured steps and empties the buffer.

        Args:
            steps: Number of each step since the last `read`. By default they
                continue from the last step read.

        Returns:
            `GradientSamples` of the last `capacity` steps.
        """
        replicas, peaks, count = read_replicas(self.buffer)
        kept = min(count, self.capacity)
        order = np.arange(count - kept, count)
        replicas = replicas[:, order % self.capacity]
        rows = replicas[0]  # gradients and weights are the same in all
        loss, sizes = (
            replicas[..., STEP_COLUMNS.index(name)]
            for name in (q.BATCH_LOSS, BATCH_SIZE)
        )
        if steps is None:
            numbers = self._first_step + order
            self._first_step += count
        else:
            numbers = np.asarray(steps, np.int64)[order]
        split = len(STEP_COLUMNS)
        values = rows[:, split:].reshape(
            kept, len(self.variables), len(VARIABLE_COLUMNS)
        )
        order = self._forward_order()
        variables = [self.variables[i] for i in order]
        return GradientSamples(
            paths=[self._names.of(v) for v in variables],
            sizes=np.array([np.prod(v.shape) for v in variables]),
            steps=numbers,
            loss=mean_over_replicas(loss, sizes),
            applied=rows[:, STEP_COLUMNS.index(q.APPLIED)],
            values=values[:, order],
            unit_peaks=self._split_units(peaks),
            layers=layers_of_variables(variables, self._names, self.model),
            roles=roles_of(variables, self._names, self.model),
        )

    def _forward_order(self) -> list[int]:
        if self._call_order is None:
            return list(range(len(self.variables)))
        return self._call_order.sorted(
            [self._names.layer_of(v) for v in self.variables]
        )

    def _split_units(self, peaks: np.ndarray) -> dict[str, np.ndarray]:
        ends = np.cumsum(list(self._units.values()))
        parts = np.split(np.array(peaks), ends[:-1])
        return dict(zip(self._units, parts, strict=False))
