"""Text of what is shown: in notebooks, and through somebody's own function."""

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from rich.console import Console

_NOT_ASCII = re.compile(r"[^ -~]")
# Of text that does not go to a terminal.
_WIDTH = 80
_ACCENTS = 3


def printable(name: str) -> str:
    """A name that shows control characters as text, so that none is obeyed."""
    if name.isprintable():
        return name
    return _NOT_ASCII.sub(_shown, name)


def literal(text: str) -> str:
    """A text for a figure: no `$` begins a formula, each line is printable.

    Of the accents on a letter it shows three: a figure has no room for towers.
    """
    lines = [_with_few_accents(printable(line)) for line in text.split("\n")]
    return "\n".join(lines).replace("$", r"\$")


def _with_few_accents(text: str) -> str:
    if text.isascii():
        return text
    kept, accents = [], 0
    for character in text:
        accents = accents + 1 if unicodedata.combining(character) else 0
        if accents <= _ACCENTS:
            kept.append(character)
    return "".join(kept)


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode()


def show_text(self: Any, printer: Any, cycle: bool) -> None:
    """What IPython shows of an object whose `str` says it all.

    To be `_repr_pretty_` of a class; IPython asks no base class for it.
    """
    printer.text(str(self))


class ShownText(str):
    """Text of several lines, which a notebook shows as they are."""

    __slots__ = ()

    _repr_pretty_ = show_text


def print_through(
    sink: Callable[[str], Any], show: Callable[[Console], Any]
) -> None:
    """Prints, with colours if to the terminal, or hands the text to a function.

    Args:
        sink: `print`, or what is called with the text.
        show: Prints to the console that it is given.
    """
    if sink is print:
        show(Console())
        return
    text = io.StringIO()
    show(Console(file=text, width=_WIDTH))
    _ = sink(text.getvalue().rstrip())
