"""What batch normalization layers are given in training."""

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts._numerics.batch_statistics import is_training
from keras_concepts._types import Tensor


def batch_norm_layers(layers: list[Any]) -> list[Any]:
    """The batch normalization layers among `layers`."""
    kind = keras.layers.BatchNormalization
    return [layer for layer in layers if isinstance(layer, kind)]


def capture_batches(
    layer: Any, record: Callable[[Tensor, Tensor | None], None]
) -> contextlib.AbstractContextManager[None]:
    """Calls `record(inputs, mask)` before a layer normalizes a training batch.

    Args:
        layer: Batch normalization layer.
        record: Function.
    """
    original = layer.call
    signature = inspect.signature(original)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        if is_training(layer, given.get("training")):
            record(given["inputs"], given.get("mask"))
        return original(*args, **kwargs)

    return _backend.shadow_in_step(layer, "call", call)
