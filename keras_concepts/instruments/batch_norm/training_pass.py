"""Passes of a model in training mode that do not change it."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from keras_concepts import _backend
from keras_concepts._dropout_family import dropout_off
from keras_concepts._numerics.batch_statistics import batch_moments
from keras_concepts._numerics.moments import Moments
from keras_concepts._types import Tensor
from keras_concepts.instruments.batch_norm.capture_batches import (
    batch_norm_layers,
    capture_batches,
)
from keras_concepts.instruments.model_loss import model_loss


class TrainingPass:
    """Runs a model in training mode without changing it.

    Batch normalization uses batch statistics wherever it does in training: not
    in a frozen layer, nor where the model calls it with `training=False`. A
    model whose `call` takes no `training` gets none, as in Keras' `fit`.
    Dropout and related layers are off. Assignments to variables are discarded.
    Each pass is compiled once for batches of one shape.

    Args:
        model: A built model.

    Attributes:
        layers: Its batch normalization layers.
        used: `id` of those that took the statistics of the batch in the last
            `loss`, by its mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.layers = batch_norm_layers(_backend.flatten_layers(model))
        make = functools.partial(
            _backend.compiled_pass,
            model=model,
            eager=getattr(model, "run_eagerly", False),
        )
        self.used: dict[bool, set[int]] = {}
        self._moments = make(self._captured_moments)
        self._loss = {
            training: make(functools.partial(self._loss_in_mode, training))
            for training in (True, False)
        }

    def moments(self, x: Any) -> list[list[Moments]]:
        """Moments of the inputs of each of `layers`, one for each of its calls.

        Args:
            x: A batch of inputs, in tensors.
        """
        with _as_it_was():
            return self._moments(x)

    def loss(
        self, x: Any, y: Any, sample_weight: Any = None, training: bool = True
    ) -> Tensor:
        """The loss of a batch, in training mode or at inference."""
        with _as_it_was():
            return self._loss[training](x, y, sample_weight)

    def _captured_moments(self, x: Any) -> list[list[Moments]]:
        captured: list[list[Moments]] = [[] for _ in self.layers]
        with contextlib.ExitStack() as stack:
            stack.enter_context(dropout_off(self.model))
            for layer, moments in zip(self.layers, captured, strict=True):
                stack.enter_context(_capture(layer, moments))
            _ = _backend.call_as_trainer(self.model, x, training=True)
        return captured

    def _loss_in_mode(
        self, training: bool, x: Any, y: Any, sample_weight: Any
    ) -> Tensor:
        used: set[int] = set()
        with contextlib.ExitStack() as stack:
            stack.enter_context(dropout_off(self.model))
            for layer in self.layers:
                see = functools.partial(_add_id, used, layer)
                stack.enter_context(capture_batches(layer, see))
            y_pred = _backend.call_as_trainer(self.model, x, training)
            loss = model_loss(self.model, x, y, y_pred, sample_weight, training)
        self.used[training] = used
        return loss


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    # A recurrent layer draws from the backend's generator even where its
    # dropout is off.
    with _backend.without_gradients(), _backend.fixed_randomness(0):
        yield


def _add_id(used: set[int], layer: Any, *_: Any) -> None:
    used.add(id(layer))


def _capture(
    layer: Any, moments: list[Moments]
) -> contextlib.AbstractContextManager[None]:
    return capture_batches(
        layer,
        lambda inputs, mask: moments.append(batch_moments(layer, inputs, mask)),
    )
