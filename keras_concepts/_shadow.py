"""Replacing a method or attribute on one instance for a while."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def shadow(instance: Any, name: str, replacement: Any) -> Iterator[None]:
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


@contextlib.contextmanager
def shadow_in_thread(
    instance: Any, name: str, replacement: Callable[..., Any]
) -> Iterator[None]:
    """`shadow` that other threads do not see.

    Under `tf.distribute` each replica traces the step in a thread of its own,
    on the same model and optimizer: the others must meet the original.
    """
    original = getattr(instance, name)
    owner = threading.get_ident()

    def shadowed(*args: Any, **kwargs: Any) -> Any:
        here = threading.get_ident() == owner
        return (replacement if here else original)(*args, **kwargs)

    with shadow(instance, name, shadowed):
        yield
