"""Failures inside a training run that must not end it."""

import contextlib
import warnings
from collections.abc import Iterator

# Characters that are shown of an error's message.
_MOST_CHARACTERS = 300


class Careful:
    """Turns failures into warnings: each costs a measurement, not the run.

    Args:
        name: Class that warns.

    Attributes:
        missing: Sentences on what could not be done, and why.
    """

    def __init__(self, name: str) -> None:
        self.missing: list[str] = []
        self._name = name
        self._said: set[str] = set()
        # Only the `id`: the error itself would keep the frames of `fit` alive,
        # and so the model. Each run has its own `Careful`.
        self._foreign: int | None = None

    def let_through(self, error: Exception) -> None:
        """Lets an error pass that the user's own code has raised.

        Args:
            error: The error that is about to end the training run.
        """
        self._foreign = id(error)

    def note(self, sentence: str) -> None:
        """Adds a sentence to `missing`, once, without a warning."""
        if sentence not in self.missing:
            self.missing.append(sentence)

    @contextlib.contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Warns, the first time, if the with-block fails.

        Args:
            what: What the block does, worded to follow "could not".
        """
        try:
            yield
        except Exception as error:  # said once, and in `missing`
            if id(error) == self._foreign:
                raise
            if what in self._said:
                return
            self._said.add(what)
            said = " ".join(str(error).split())[:_MOST_CHARACTERS]
            text = f"could not {what} ({type(error).__name__}: {said})"
            self.missing.append(text)
            warnings.warn(
                f"`{self._name}` {text}. Training goes on.",
                UserWarning,
                stacklevel=2,
            )
