"""Argument checks that share one form of message."""

import numbers
from collections.abc import Collection, Sequence
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


def check_choice(
    owner: str, name: str, value: Any, choices: Collection[Any]
) -> None:
    """Raises unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"Invalid `{name}` argument value. `{name}` of `{owner}` must be "
            f"one of: {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}."
        )


def check_at_least(owner: str, name: str, value: float, low: float) -> None:
    """Raises unless `value` is a number of at least `low`."""
    if not value >= low:
        raise ValueError(
            f"`{name}` of `{owner}` must be at least {low}. "
            f"Received: {name}={value!r}."
        )


def check_probability(owner: str, name: str, value: Any) -> None:
    """Raises unless `value` is a float in (0, 1], or a sequence of such."""
    values = value if isinstance(value, Sequence) else [value]
    for each in values:
        if not isinstance(each, float) or not 0 < each <= 1:
            raise ValueError(
                f"Invalid `{name}` argument value. `{name}` of `{owner}` must "
                f"be a Python float above 0 and at most 1. "
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


def check_above(owner: str, name: str, value: float, low: float) -> None:
    """Raises unless `value` is a number above `low`."""
    if not value > low:
        raise ValueError(
            f"`{name}` of `{owner}` must be above {low}. "
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
