"""Replacing a method on one instance for a while."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def shadow(
    instance: Any, name: str, replacement: Callable[..., Any]
) -> Iterator[None]:
    """Puts `replacement` in front of `instance.name` inside the with-block.

    Written to the instance's `__dict__`, past the `__setattr__` with which
    Keras objects track what they are given.
    """
    attributes = vars(instance)
    outer = attributes.get(name)
    attributes[name] = replacement
    try:
        yield
    finally:
        if outer is None:
            del attributes[name]
        else:
            attributes[name] = outer
