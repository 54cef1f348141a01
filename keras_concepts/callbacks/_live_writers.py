"""Other tools that show a training run while it goes on."""

from typing import Any

from keras_concepts import _backend
from keras_concepts.callbacks._careful import Careful
from keras_concepts.recording import Recording
from keras_concepts.rules.finding import Finding


def checked_writers(owner: str, log_to: Any) -> list[Any]:
    """Writers, of which one need not be in a list.

    Args:
        owner: Class with the argument `log_to`.
        log_to: What it was given.

    Raises:
        TypeError: One of them has no method `write`.
    """
    writers = [] if log_to is None else [log_to]
    if isinstance(log_to, list | tuple):
        writers = [*log_to]
    for writer in writers:
        if not callable(getattr(writer, "write", None)):
            raise TypeError(
                f"`log_to` of `{owner}` must be a writer, such as "
                "`kc.reports.TensorBoardWriter(...)`, or a list of "
                f"writers. Received: log_to={log_to!r}."
            )
    return writers


class LiveWriters:
    """Writers that are called again and again, until one fails.

    Args:
        writers: With a method `write(recording, findings)`.
        careful: For what may fail.
    """

    def __init__(self, writers: list[Any], careful: Careful) -> None:
        self._working = writers
        self._careful = careful

    def write(self, recording: Recording, findings: list[Finding]) -> None:
        """Shows elsewhere what is new.

        Args:
            recording: Of the run.
            findings: All of them.
        """
        working = []
        with _backend.kept_randomness():
            for writer in self._working:
                name = type(writer).__name__
                # One that failed is left alone: a server that cannot be
                # reached may take minutes each time.
                with self._careful(f"write to `{name}`"):
                    _ = writer.write(recording, findings)
                    working.append(writer)
        self._working = working
