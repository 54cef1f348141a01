"""What a tensor holds, and what kind of tensor it is."""

from typing import Any

import keras
import numpy as np
import torch

from keras_concepts._types import Tensor


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable).detach().clone()


def copied(gradient: Any) -> Tensor:
    return gradient.detach().clone()


def version(tensor: Any) -> int:
    return 0 if torch.compiler.is_compiling() else tensor._version


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    device = tensor.device.type
    if torch.compiler.is_compiling() or device == "meta":
        return None
    if device != "cpu" and not wait:
        return None
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # NumPy does not have it
        tensor = tensor.float()
    return tensor.numpy()


def is_dense(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) or (
        value.layout == torch.strided
        and not value.is_nested
        and not value.is_quantized
    )


def on_host(value: Any) -> np.ndarray:
    if isinstance(value, keras.Variable):
        value = value.value
    if not isinstance(value, torch.Tensor) or value.dtype == torch.bfloat16:
        return keras.ops.convert_to_numpy(value)
    return value.detach().cpu().numpy().copy()


def detached(tensors: Any) -> Any:
    """The tensors in a structure, detached from what a gradient needs."""
    return keras.tree.map_structure(
        lambda x: x.detach() if isinstance(x, torch.Tensor) else x, tensors
    )
