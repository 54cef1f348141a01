"""Argument checks that share one form of message."""

import numbers
from typing import Any


def check_positive_int(owner: str, name: str, value: Any) -> None:
    """Raises unless `value` is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"`{name}` of `{owner}` must be an integer. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    if value < 1:
        raise ValueError(
            f"`{name}` of `{owner}` must be at least 1. "
            f"Received: {name}={value!r}."
        )
