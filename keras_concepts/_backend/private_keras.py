"""What is used of Keras that it does not export, and why."""

from typing import Any

# Masking layers leave the mask on the tensor, or beside it where the backend's
# tensors take no attributes; the public API has no way to ask.
from keras.src.backend.common.masking import get_keras_mask


def keras_mask(tensor: Any) -> Any:
    """The mask that Keras' layers left on a tensor, or `None`."""
    return get_keras_mask(tensor)
