"""Text output, in notebooks and through a user's own function."""

import io
import re
import unicodedata
from collections.abc import Callable
from typing import Any

from rich.console import Console

_NOT_ASCII = re.compile(r"[^ -~]")
# Width of text that does not go to a terminal.
_WIDTH = 80
_ACCENTS = 3


def printable(name: str) -> str:
    """A name with control characters as text, so that they have no effect."""
    if name.isprintable():
        return name
    return _NOT_ASCII.sub(_shown, name)


def literal(text: str) -> str:
    """A text for a figure: no `$` starts a formula, each line is printable.

    At most three accents on a letter are shown: a figure has no space for more.
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
    """Makes IPython show the `str` of an object.

    Use as `_repr_pretty_` of a class; IPython does not look in base classes.
    """
    printer.text(str(self))


class ShownText(str):
    """Text of several lines, which a notebook shows unchanged."""

    __slots__ = ()

    _repr_pretty_ = show_text


def beside_progress_bar(
    sink: Callable[[str], Any], params: dict[str, Any]
) -> Callable[[str], Any]:
    """`print` on a line of its own, below a progress bar that is not full.

    Args:
        sink: `print`, or a function that gets the text unchanged.
        params: What Keras passes to the callbacks of a `fit`.
    """
    if sink is not print or params.get("verbose") not in (1, "auto"):
        return sink
    return lambda text: sink(f"\n{text}")


def print_through(
    sink: Callable[[str], Any], show: Callable[[Console], Any]
) -> None:
    """Prints, with colours on a terminal, or passes the text to a function.

    Args:
        sink: `print`, or a function to call with the text.
        show: Function that prints to a given console.
    """
    if sink is print:
        show(Console())
        return
    text = io.StringIO()
    show(Console(file=text, width=_WIDTH))
    _ = sink(text.getvalue().rstrip())
