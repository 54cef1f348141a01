"""Temporarily replacing a method or attribute of an instance or class."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def shadow(instance: Any, name: str, replacement: Any) -> Iterator[None]:
    """Replaces `instance.name` by `replacement` inside the with-block.

    It is written to the instance's `__dict__`, bypassing the `__setattr__` with
    which Keras objects track their attributes.
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


# By `id` of the instance and name: the original, and the earlier shadows.
_of_threads: dict[tuple[int, str], list[Any]] = {}


@contextlib.contextmanager
def shadow_in_thread(
    instance: Any, name: str, replacement: Callable[..., Any]
) -> Iterator[None]:
    """`shadow` that other threads do not see.

    Under `tf.distribute` each replica traces the step in its own thread, on the
    same model and optimizer: the others must see the original.
    """
    original, attributes = getattr(instance, name), vars(instance)
    owner = threading.get_ident()

    def shadowed(*args: Any, **kwargs: Any) -> Any:
        here = threading.get_ident() == owner
        return (replacement if here else original)(*args, **kwargs)

    shadows = _of_threads.setdefault((id(instance), name), [])
    if not shadows:
        shadows.append(attributes.get(name))
    shadows.append(shadowed)
    attributes[name] = shadowed
    try:
        yield
    finally:
        # Threads leave in any order, since replicas wait for each other.
        shadows.remove(shadowed)
        if shadows[-1] is None:
            del attributes[name]
        else:
            attributes[name] = shadows[-1]
        if len(shadows) == 1:
            del _of_threads[id(instance), name]


class _SharedShadow:
    """Replaces a method of a class for as long as a caller needs it."""

    def __init__(self, base: type, name: str) -> None:
        self.name = name
        self.wanted: tuple[tuple[Any, Any], ...] = ()
        self.originals = {
            each: vars(each)[name]
            for each in {*base.__mro__, *_with_subclasses(base)}
            if name in vars(each)
        }

    def install(self) -> None:
        for each, original in self.originals.items():
            setattr(each, self.name, self._shadowed(original))

    def remove(self) -> None:
        for each, original in self.originals.items():
            setattr(each, self.name, original)

    def _shadowed(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(instance: Any, *args: Any, **kwargs: Any) -> Any:
            bound = functools.partial(original, instance)
            for is_here, replacement in self.wanted:
                if is_here():
                    return replacement(instance, bound, *args, **kwargs)
            return bound(*args, **kwargs)

        return method


# Several threads may train at once: the first to come installs a shadow, and
# the last to leave removes it.
_shared: dict[tuple[type, str], _SharedShadow] = {}
_lock = threading.Lock()


@contextlib.contextmanager
def shadow_methods(
    base: type,
    name: str,
    replacement: Callable[..., Any],
    is_here: Callable[[], bool],
) -> Iterator[None]:
    """Replaces a method of all instances of a class and its subclasses.

    Args:
        base: Class.
        name: Method, which subclasses of `base` may override.
        replacement: Called with the instance, its own method and the arguments.
        is_here: Whether a call is affected, for example only in this thread.
    """
    entry = (is_here, replacement)
    with _lock:
        shared = _shared.get((base, name))
        if shared is None:
            shared = _shared[base, name] = _SharedShadow(base, name)
            shared.install()
        shared.wanted = (entry, *shared.wanted)
    try:
        yield
    finally:
        with _lock:
            shared.wanted = tuple(x for x in shared.wanted if x is not entry)
            if not shared.wanted:
                shared.remove()
                del _shared[base, name]


def shadow_methods_in_thread(
    base: type, name: str, replacement: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    """`shadow_methods` that other threads do not see."""
    owner = threading.get_ident()
    return shadow_methods(
        base, name, replacement, lambda: threading.get_ident() == owner
    )


def _with_subclasses(base: type) -> set[type]:
    below = (_with_subclasses(each) for each in base.__subclasses__())
    return {base}.union(*below)
