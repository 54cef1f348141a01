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


def check_at_least(owner: str, name: str, value: float, low: float) -> None:
    """Raises unless `value` is a number of at least `low`."""
    if not value >= low:
        raise ValueError(
            f"`{name}` of `{owner}` must be at least {low}. "
            f"Received: {name}={value!r}."
        )


def check_between(
    owner: str, name: str, value: float, low: float, high: float
) -> None:
    """Raises unless `value` lies in `[low, high]`."""
    if not low <= value <= high:
        raise ValueError(
            f"`{name}` of `{owner}` must lie between {low} and {high}. "
            f"Received: {name}={value!r}."
        )


def check_one_of(
    owner: str, name: str, value: Any, allowed: tuple[Any, ...]
) -> None:
    """Raises unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(
            f"`{name}` of `{owner}` must be one of {allowed}. "
            f"Received: {name}={value!r}."
        )


def check_above(owner: str, name: str, value: float, low: float) -> None:
    """Raises unless `value` is a number above `low`."""
    if not value > low:
        raise ValueError(
            f"`{name}` of `{owner}` must be above {low}. "
            f"Received: {name}={value!r}."
        )
