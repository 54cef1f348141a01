"""The inputs of batch normalization layers in training."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts._types import Tensor


def batch_norm_layers(layers: list[Any]) -> list[Any]:
    """The batch normalization layers among `layers`."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in layers if isinstance(layer, kind)]


def capture_batches(
    layer: Any, record: Callable[[Tensor, Tensor | None], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(inputs, mask)` before a layer normalizes by its batch.

    Args:
        layer: Batch normalization layer.
        record: Function. Its inputs are in float32 or wider.
    """
    return _backend.capture_batch_moments(layer, record)
