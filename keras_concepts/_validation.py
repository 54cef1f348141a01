"""Argument checks that share one form of message."""

import numbers
from collections.abc import Collection, Sequence
from typing import Any


def plain(value: Any) -> Any:
    """A value, as Python numbers if it is of NumPy, alone or in a sequence."""
    if isinstance(value, list | tuple):
        return type(value)(plain(each) for each in value)
    return value.tolist() if hasattr(value, "tolist") else value


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


def check_probe(owner: str, probe: Any, least: int = 1) -> None:
    """Raises unless `probe` is a tuple of a batch: `(x, y, sample_weight)`.

    Args:
        owner: Who asks.
        probe: What was given.
        least: How many parts it must have: 1, or 2 where labels are needed.
    """
    forms = ["`(x,)`", "`(x, y)`", "`(x, y, sample_weight)`"][least - 1 :]
    wanted = f"`probe` of `{owner}` must be {_either(forms)}."
    if not isinstance(probe, tuple | list):
        raise TypeError(
            f"{wanted} Received: probe of type {type(probe).__name__}."
        )
    if not least <= len(probe) <= 3:
        raise ValueError(
            f"{wanted} Received: a {type(probe).__name__} of {len(probe)} "
            "parts."
        )


def _either(options: Sequence[str]) -> str:
    *others, last = options
    return f"{', '.join(others)} or {last}"


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
    numbers = plain(value)
    values = numbers if isinstance(numbers, list | tuple) else [numbers]
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
