"""Whether a model can learn one batch, without changing the model."""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import StatelessScope, ops

from keras_concepts import _backend
from keras_concepts._dropout_family import dropout_off
from keras_concepts._types import Tensor
from keras_concepts.instruments.model_loss import model_loss

# Constants of Adam, as in Kingma & Ba (2015).
_DECAY_1, _DECAY_2, _TINY = 0.9, 0.999, 1e-7


@dataclasses.dataclass
class Learned:
    """The result of some steps on one batch.

    Attributes:
        before: Loss at the start, without penalties.
        after: The larger of the last two losses.
        steps: Number of steps taken.
        rate: Learning rate.
        moved: For each trained variable, whether any of its entries changed.
        values: Values of the variables after the steps.
    """

    before: float
    after: float
    steps: int
    rate: float
    moved: list[bool]
    values: list[Tensor]


class Trial:
    """Loss and gradients of one batch, at any values of the weights.

    Layers are called as in training, without dropout. The model itself keeps
    its weights, statistics, seeds and metrics: the values replace them in a
    Keras scope that discards assignments.

    Args:
        model: A built model with a loss.
        x: Inputs, as tensors of the backend.
        y: Labels.
        sample_weight: Weights or `None`.
        compiled: Whether to compile it, for more than a few steps.
        steps: How many steps are planned.
    """

    def __init__(
        self,
        model: Any,
        x: Any,
        y: Any,
        sample_weight: Any,
        compiled: bool,
        steps: int = 40,
    ) -> None:
        self.variables = list(model.trainable_variables)
        self.start = [_backend.snapshot(v) for v in self.variables]
        self._model = model
        self._batch = x, y, sample_weight
        # A TensorFlow graph is quick to build; XLA must be told to hurry. JAX
        # compiles operation by operation whatever is not compiled together.
        is_jax = keras.backend.backend() == "jax"
        self._step = _backend.compiled_pass(
            self._stepped,
            model,
            eager=not compiled and not is_jax,
            few=(steps if compiled else 1) if is_jax else None,
        )

    def gradients(
        self,
        values: Sequence[Tensor] | None = None,
        batch: tuple[Any, Any, Any] | None = None,
    ) -> tuple[float, list[np.ndarray]]:
        """Loss without penalties, and the gradient of each variable.

        Args:
            values: Values of the variables, by default their current ones.
            batch: `(x, y, sample_weight)`, by default that of the trial.
        """
        values = self.start if values is None else list(values)
        zeros = list(map(ops.zeros_like, values))
        loss, gradients, *_ = self._stepped_at(values, zeros, zeros, 0.0, batch)
        return _number(loss), list(map(_backend.on_host, gradients))

    def learn(
        self,
        steps: int,
        rate: float,
        enough: Callable[[float, float], bool],
        seconds: float = math.inf,
    ) -> Learned:
        """Some steps of Adam, always on the same batch.

        Args:
            steps: Maximum number of steps.
            rate: Learning rate.
            enough: Whether a fall of the loss, from the first number to the
                second, is enough. The steps end after two such falls in a row.
            seconds: Time limit.
        """
        values = self.start
        first = second = list(map(ops.zeros_like, values))
        losses = []
        started = time.monotonic()
        for step in range(1, steps + 2):
            # The rate corrects for both moments starting at 0.
            scale = rate * math.sqrt(1 - _DECAY_2**step) / (1 - _DECAY_1**step)
            loss, _, *state = self._stepped_at(values, first, second, scale)
            values, first, second = state
            losses.append(_number(loss))
            if not math.isfinite(losses[-1]):
                break
            if len(losses) > 2 and all(
                enough(losses[0], each) for each in losses[-2:]
            ):
                break
            if time.monotonic() - started > seconds:
                break
        moved = [
            not np.array_equal(_backend.on_host(a), _backend.on_host(b))
            for a, b in zip(values, self.start, strict=True)
        ]
        after = max(losses[-2:], key=lambda x: math.inf if x != x else x)
        steps = len(losses) - 1
        return Learned(losses[0], after, steps, rate, moved, values)

    def _stepped_at(
        self,
        values: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        scale: float,
        batch: tuple[Any, Any, Any] | None = None,
    ) -> Any:
        scale = ops.convert_to_tensor(scale, "float32")
        batch = self._batch if batch is None else batch
        return self._step(values, first, second, scale, *batch)

    def _stepped(
        self,
        values: list[Tensor],
        first: list[Tensor],
        second: list[Tensor],
        scale: Tensor,
        x: Any,
        y: Any,
        sample_weight: Any,
    ) -> tuple[Any, ...]:
        loss, gradients = self._differentiated(values, x, y, sample_weight)
        first = [
            _DECAY_1 * m + (1 - _DECAY_1) * g
            for m, g in zip(first, gradients, strict=True)
        ]
        second = [
            _DECAY_2 * s + (1 - _DECAY_2) * ops.square(g)
            for s, g in zip(second, gradients, strict=True)
        ]
        values = [
            w - ops.cast(scale, w.dtype) * m / (ops.sqrt(s) + _TINY)
            for w, m, s in zip(values, first, second, strict=True)
        ]
        return loss, gradients, values, first, second

    def _differentiated(
        self, values: list[Tensor], x: Any, y: Any, sample_weight: Any
    ) -> tuple[Tensor, list[Tensor]]:
        model = self._model
        trained = {id(variable) for variable in self.variables}
        others = [
            (v, ops.convert_to_tensor(v.value))
            for v in model.variables
            if id(v) not in trained
        ]

        def loss_of(values: list[Tensor]) -> tuple[Tensor, Tensor]:
            mapping = [*zip(self.variables, values, strict=True), *others]
            with (
                StatelessScope(mapping, collect_losses=True),
                dropout_off(model),
                _backend.fixed_randomness(0),
            ):
                y_pred = _backend.call_as_trainer(model, x, training=True)
                loss = model_loss(model, x, y, y_pred, sample_weight, True)
                penalties = sum(
                    ops.cast(v.regularizer(v), "float32")
                    for v in self.variables
                    if v.regularizer is not None
                )
            loss = ops.cast(loss, "float32")
            return loss, loss - penalties

        (_, data_loss), gradients = _backend.value_and_grad(
            loss_of, list(values), has_aux=True
        )
        return data_loss, gradients


def _number(tensor: Tensor) -> float:
    return float(_backend.on_host(tensor))
