"""What IPython and notebooks show of an object whose `str` says it all."""

from typing import Any


def show_text(self: Any, printer: Any, cycle: bool) -> None:
    """To be `_repr_pretty_` of a class; IPython asks no base class for it."""
    printer.text(str(self))


class ShownText(str):
    """Text of several lines, which a notebook shows as they are."""

    __slots__ = ()

    _repr_pretty_ = show_text
