"""What to do as soon as a running `fit` ends, however it ends."""

import contextlib
import functools
import weakref
from collections.abc import Callable
from typing import Any

from keras_concepts import _backend

_HOOKS = [
    f"on_{what}_{when}"
    for what in ("train", "epoch", "train_batch", "test", "test_batch")
    for when in ("begin", "end")
]
_ATTRIBUTE = "_keras_concepts_end"


class EndOfFit:
    """Calls functions when a `fit` ends, even by an exception.

    Keras does not inform callbacks of an exception. But code that may raise is
    called through the list of callbacks, the train function or the iterator
    over the batches: these are shadowed, and an exception that leaves one of
    them ends the `fit`. One raised anywhere else, such as by Ctrl-C between two
    of them, is noticed when the list is freed, once nothing refers to the
    traceback any more.

    Args:
        callbacks: The `keras.callbacks.CallbackList` of the `fit`, which keeps
            this object as long as its `fit` runs.
    """

    def __init__(self, callbacks: Any) -> None:
        self._stack = contextlib.ExitStack()
        self._watched: set[int] = set()
        self._later: list[Callable[[], Any]] = []
        # Not the list itself, so that it can be freed.
        self._list = weakref.ref(callbacks)
        self._finalizer = weakref.finalize(callbacks, self.end)
        self._finalizer.atexit = False
        attributes = vars(callbacks)
        attributes[_ATTRIBUTE] = self
        self._hidden = {name: attributes.get(name) for name in _HOOKS}
        for name in _HOOKS:
            attributes[name] = functools.partial(self._call, name)

    @classmethod
    def of(cls, callbacks: Any) -> "EndOfFit":
        """The object that a list holds while its `fit` runs."""
        return vars(callbacks).get(_ATTRIBUTE) or cls(callbacks)

    def then(self, function: Callable[[], Any]) -> None:
        """Adds a function to call; the last one is called first."""
        _ = self._stack.callback(function)

    def once_it_goes_on(self, function: Callable[[], Any]) -> None:
        """Adds a function to call after the next callback.

        A nested `fit` that a callback started has then ended.
        """
        self._later.append(function)

    def watch(self, model: Any) -> None:
        """Also notices exceptions from the iterator over the batches.

        Args:
            model: In `fit`.
        """
        if id(model) not in self._watched:
            self._watched.add(id(model))
            self._stack.enter_context(
                _backend.failures_of_data(model, self.end)
            )

    def _call(self, name: str, *args: Any, **kwargs: Any) -> None:
        callbacks = self._list()
        if callbacks is None:
            return
        hook = self._hidden[name]
        try:
            if hook is None:
                hook = functools.partial(
                    getattr(type(callbacks), name), callbacks
                )
            hook(*args, **kwargs)
        except BaseException:
            self.end()
            raise
        while self._later:
            self._later.pop()()
        if name == "on_train_end":
            self.end()

    def end(self) -> None:
        """Calls the functions, each only once."""
        # A list may serve many a `fit`, each with an object of its own.
        _ = self._finalizer.detach()
        callbacks = self._list()
        attributes = {} if callbacks is None else vars(callbacks)
        if attributes.get(_ATTRIBUTE) is self:
            del attributes[_ATTRIBUTE]
            for name, hidden in self._hidden.items():
                del attributes[name]
                if hidden is not None:
                    attributes[name] = hidden
        # An exception may be propagating, which nothing may replace.
        with contextlib.suppress(Exception):
            self._stack.close()
