"""Keras' `fit`, replaced by one that others can put a callback into."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Protocol


class Caller(Protocol):
    """What calls `fit` instead of the user."""

    def fit(
        self, call: Callable[[Any], Any], model: Any, callbacks: Any
    ) -> Any:
        """Calls `fit`.

        Args:
            call: Calls Keras' own function with the given callbacks.
            model: The model of the `fit`.
            callbacks: The user's callbacks.
        """


class WrappedFit:
    """A replacement of `fit` in the Keras class that defines it.

    Args:
        find_caller: Returns what is to call `fit`, or `None` to leave a call as
            it is.
    """

    def __init__(self, find_caller: Callable[[], Caller | None]) -> None:
        self._find_caller = find_caller
        self._owner: Any = None
        self._fit: Any = None
        self._wrapped: Any = None

    def put_on(self) -> None:
        """Replaces `fit`, unless it is replaced already."""
        import keras

        if self._owner is not None:
            return
        owners = [c for c in keras.Model.__mro__ if "fit" in vars(c)]
        self._owner = owners[0]
        self._fit = vars(self._owner)["fit"]
        # Other wrappers may take any arguments.
        places = [_place_of_callbacks(vars(c)["fit"]) for c in owners]
        place = next(each for each in places if each is not None)
        self._wrapped = self._owner.fit = self._around(self._fit, place)

    def take_off(self) -> None:
        """Restores `fit`.

        If others have wrapped it meanwhile, it stays below their wrapper,
        without effect.
        """
        owner, self._owner = self._owner, None
        if owner is not None and vars(owner).get("fit") is self._wrapped:
            owner.fit = self._fit

    def _around(self, fit: Callable[..., Any], place: int) -> Any:
        """Wraps `fit`, which receives its arguments in their original form."""

        @functools.wraps(fit)
        def wrapped_fit(*args: Any, **kwargs: Any) -> Any:
            def call(callbacks: Any) -> Any:
                if len(args) > place:
                    return fit(
                        *args[:place], callbacks, *args[place + 1 :], **kwargs
                    )
                return fit(*args, **kwargs | {"callbacks": callbacks})

            caller = self._find_caller()
            if caller is None or not args:
                return fit(*args, **kwargs)
            is_placed = len(args) > place
            given = args[place] if is_placed else kwargs.get("callbacks")
            return caller.fit(call, args[0], given)

        return wrapped_fit


def _place_of_callbacks(fit: Callable[..., Any]) -> int | None:
    """Position of that argument; `None` if a function does not have it."""
    names = [*inspect.signature(fit).parameters]
    return names.index("callbacks") if "callbacks" in names else None
