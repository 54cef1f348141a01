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


def check_non_negative(owner: str, name: str, value: Any) -> None:
    """Raises unless `value` is a finite Python number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"`{name}` of `{owner}` must be a number. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    if not 0.0 <= value < float("inf"):
        raise ValueError(
            f"`{name}` of `{owner}` must be finite and at least 0. "
            f"Received: {name}={value!r}."
        )
