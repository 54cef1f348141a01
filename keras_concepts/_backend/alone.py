"""What a backend offers whose processes need not agree on anything."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np


def process_count(model: Any) -> int:
    del model
    return 1


def gathered(model: Any, value: Any) -> list[Any]:
    del model
    return [value]


def summed_over_ranks(arrays: list[np.ndarray]) -> list[np.ndarray]:
    return arrays


def gathered_from_ranks(value: Any) -> list[Any]:
    return [value]


def is_framework_optimizer(optimizer: Any) -> bool:
    del optimizer
    return False


def framework_updates(
    optimizer: Any, variables: list[Any], record: Callable[..., None]
) -> AbstractContextManager[None]:
    del optimizer, variables, record
    return nullcontext()
