"""Examples in docstrings, `>>> ...`, become blocks of code."""

import re
from typing import Any

from griffe import Docstring, Extension, Object

# From a prompt to the next empty line.
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class Doctests(Extension):
    """Fences each example of a docstring."""

    def on_object(self, *, obj: Object, **kwargs: Any) -> None:
        found: Docstring | None = obj.docstring
        if found is not None:
            found.value = EXAMPLE.sub(r"```pycon\n\g<0>\n```", found.value)
