"""Processes, each of which trains a model; the ranks of a process group."""

from typing import Any

import keras
import numpy as np
import torch

from keras_concepts._backend import stand_ins

process_count = stand_ins.process_count
gathered = stand_ins.gathered


def is_main_process(model: Any) -> bool:
    del model
    return not _has_ranks() or torch.distributed.get_rank() == 0


def _has_ranks() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


def summed_over_ranks(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if not _has_ranks():
        return arrays
    sums = []
    for array in arrays:
        # NCCL accepts only tensors on its devices.
        tensor = torch.tensor(array, device=keras.ops.zeros(()).device)
        torch.distributed.all_reduce(tensor)
        sums.append(tensor.cpu().numpy())
    return sums


def gathered_from_ranks(value: Any) -> list[Any]:
    if not _has_ranks():
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values
