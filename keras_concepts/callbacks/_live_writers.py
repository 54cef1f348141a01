"""Other tools that show a training run while it goes on."""

from typing import Any

from keras_concepts import _backend
from keras_concepts.callbacks._careful import Careful
from keras_concepts.recording import Recording
from keras_concepts.rules.finding import Finding


def checked_writers(owner: str, log_to: Any) -> list[Any]:
    """The writers as a list; a single writer may be given without one.

    Args:
        owner: Class with the argument `log_to`.
        log_to: The value given for it.

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
    """Writers that are called repeatedly, until they fail.

    Args:
        writers: Objects with a method `write(recording, findings)`.
        careful: Guards what may fail.
    """

    def __init__(self, writers: list[Any], careful: Careful) -> None:
        self._working = writers
        self._careful = careful

    def write(self, recording: Recording, findings: list[Finding]) -> None:
        """Shows what is new in other tools.

        Args:
            recording: Recording of the run.
            findings: All findings so far.
        """
        working = []
        with _backend.kept_randomness():
            for writer in self._working:
                name = type(writer).__name__
                # A writer that failed is not called again: an unreachable
                # server may take minutes each time.
                with self._careful(f"write to `{name}`"):
                    _ = writer.write(recording, findings)
                    working.append(writer)
        self._working = working
