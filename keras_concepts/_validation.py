"""Argument checks that share one form of message."""

import math
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any

# Beyond this, class numbers would not fit into 32 bits.
_MOST_PLACES = 2**30
# The largest float32.
_HIGHEST = (2 - 2.0**-23) * 2.0**127
# Its square times a count must be a float32.
_HIGHEST_BETA = 1e9
# Up to this value a float holds every integer.
_EXACT = 2**53


def plain(value: Any) -> Any:
    """A value with NumPy numbers as Python numbers, alone or in a sequence.

    A list becomes a list, and a tuple a tuple, whatever its class.
    """
    if isinstance(value, list | tuple):
        kind = list if isinstance(value, list) else tuple
        return kind(plain(each) for each in value)
    return value.tolist() if hasattr(value, "tolist") else value


def checked_bool(owner: str, name: str, value: Any) -> bool:
    """A flag as a Python value. A string would count as true.

    Raises:
        TypeError: If it is neither true nor false, nor 1 nor 0.
    """
    given = plain(value)
    if isinstance(given, int) and given in (0, 1):
        return bool(given)
    raise TypeError(
        f"`{name}` of `{owner}` must be True or False. "
        f"Received: {name}={value!r} of type {type(value).__name__}."
    )


def checked_int(
    owner: str, name: str, value: Any, low: int | None = None
) -> int:
    """An integer as a Python value.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it is below `low`, or too large for a size.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int):
        raise TypeError(
            f"`{name}` of `{owner}` must be an integer. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    if low is not None and given < low:
        raise ValueError(
            f"`{name}` of `{owner}` must be at least {low}. "
            f"Received: {name}={value!r}."
        )
    if abs(given) > sys.maxsize:
        raise ValueError(
            f"`{name}` of `{owner}` must be at most {sys.maxsize}. "
            f"Received: an integer of {given.bit_length()} bits."
        )
    return given


def checked_seed(owner: str, seed: Any) -> int:
    """A seed as a Python value, as Keras and NumPy take it.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it has more than 32 bits, or is negative.
    """
    seed = checked_int(owner, "seed", seed, low=0)
    if seed >= 2**32:
        raise ValueError(
            f"`seed` of `{owner}` must be below 2**32. Received: seed={seed}."
        )
    return seed


def check_positive_int(owner: str, name: str, value: Any) -> None:
    """Raises unless `value` is an integer of at least 1."""
    _ = checked_int(owner, name, value, low=1)


def checked_size(owner: str, name: str, value: Any, low: int = 1) -> int:
    """A number of entries of a state: an integer from `low` to 2**30."""
    size = checked_int(owner, name, value, low)
    if size > _MOST_PLACES:
        raise ValueError(
            f"`{name}` of `{owner}` must be at most {_MOST_PLACES}. "
            f"Received: {name}={value!r}."
        )
    return size


def checked_number(
    owner: str,
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    finite: bool = True,
) -> int | float:
    """A number as a Python value.

    Args:
        owner: Name of the object with the argument.
        name: Name of the argument.
        value: The given value.
        low: Smallest value allowed.
        high: Largest value allowed.
        above: Number that it must exceed.
        finite: Whether NaN and infinity are refused.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is out of range.
    """
    given = plain(value)
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise TypeError(
            f"`{name}` of `{owner}` must be a number. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    wanted = "be finite"
    if low is not None and high is not None:
        wanted = f"lie between {low} and {high}"
    elif low is not None:
        wanted += f" and at least {low}"
    elif above is not None:
        wanted += f" and above {above}"
    if abs(given) > _EXACT:  # too large for the integers of a backend
        given = _as_float(given)
    if math.isfinite(given) and abs(given) > _HIGHEST:
        raise ValueError(
            f"`{name}` of `{owner}` must be at most {_HIGHEST:.2g}, the "
            f"largest float32. Received: {name}={value!r}."
        )
    inside = (
        (not finite or math.isfinite(given))
        and (low is None or given >= low)
        and (high is None or given <= high)
        and (above is None or given > above)
    )
    if not inside:
        raise ValueError(
            f"`{name}` of `{owner}` must {wanted}. Received: {name}={value!r}."
        )
    return given


def checked_beta(owner: str, beta: Any) -> float:
    """The weight of recall, as a Python value.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is not above 0, or too large to be squared.
    """
    beta = checked_number(owner, "beta", beta, above=0)
    if beta > _HIGHEST_BETA:
        raise ValueError(
            f"`beta` of `{owner}` must be at most {_HIGHEST_BETA:g}. "
            f"Received: beta={beta!r}."
        )
    return beta


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def checked_path(
    owner: str, name: str, value: Any
) -> str | os.PathLike[str] | None:
    """A path, or `None`, unchanged. A number would be an open file.

    Raises:
        TypeError: If it is anything else.
        ValueError: If it is empty.
    """
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike):
        raise TypeError(
            f"`{name}` of `{owner}` must be a path. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    if not os.fspath(value):
        raise ValueError(
            f"`{name}` of `{owner}` must be a path, or None for none. "
            f"Received: {name}={value!r}."
        )
    return value


def check_name(owner: str, name: Any) -> None:
    """Raises unless a name is a string, or `None`."""
    if not isinstance(name, str | None):
        raise TypeError(
            f"`name` of `{owner}` must be a string. "
            f"Received: name={name!r} of type {type(name).__name__}."
        )


def checked_callable(
    owner: str, name: str, value: Callable[..., Any]
) -> Callable[..., Any]:
    """A function, unchanged.

    Raises:
        TypeError: If it cannot be called.
    """
    if not callable(value):
        raise TypeError(
            f"`{name}` of `{owner}` must be a function. "
            f"Received: {name}={value!r} of type {type(value).__name__}."
        )
    return value


def check_probe(owner: str, probe: Any, least: int = 1) -> None:
    """Raises unless `probe` is a tuple of a batch: `(x, y, sample_weight)`.

    Args:
        owner: Name of the caller.
        probe: The given value.
        least: Minimum number of parts: 1, or 2 if labels are needed.
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
    """Raises unless `value` is one of `choices`, strings or `None`."""
    if not isinstance(value, str | None) or value not in choices:
        raise ValueError(
            f"Invalid `{name}` argument value. `{name}` of `{owner}` must be "
            f"one of: {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}."
        )


def check_probability(owner: str, name: str, value: Any) -> None:
    """Raises unless `value` is a float in (0, 1], or a sequence of these."""
    numbers = plain(value)
    values = numbers if isinstance(numbers, list | tuple) else [numbers]
    for each in values or [None]:
        if not isinstance(each, float) or not 0 < each <= 1:
            raise ValueError(
                f"Invalid `{name}` argument value. `{name}` of `{owner}` must "
                f"be a Python float above 0 and at most 1. "
                f"Received: {name}={value!r}."
            )
