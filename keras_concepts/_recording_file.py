"""The file of a recording: JSON lines, appended to and never overwritten."""

import json
import pathlib
from collections.abc import Iterator
from typing import IO, Any

FORMAT = "keras-concepts recording"
VERSION = 2
# Longer than any header, so that no other file is read to its end.
_LONGEST_HEADER = 1 << 24


class Entries:
    """The objects of a file, headers included, read as they are asked for.

    A line that is not whole is left out where a process that was killed may
    have left it: at the end, or before a header. Blank lines mean nothing.

    Args:
        path: The file.
        start: Where a line begins; the first one must be a header.

    Attributes:
        end: Where the next line begins, once all have been read.

    Raises:
        ValueError: The file is not a recording, was written by a newer version,
            or is damaged.
    """

    def __init__(self, path: pathlib.Path, start: int = 0) -> None:
        self.path = path
        self.end = start
        self._start = start

    def __iter__(self) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            _check_header(self.path, file)
            _ = file.seek(self.end)
            damaged = 0
            for number, line in enumerate(file, start=1):
                entry = _parsed(line)
                if damaged and line.strip() and not is_header(entry):
                    raise self._damage(damaged)
                if line.strip():
                    damaged = number if entry is None else 0
                if line.endswith(b"\n"):
                    self.end += len(line)
                if entry is not None:
                    _check_version(self.path, entry)
                    yield entry

    def _damage(self, number: int) -> ValueError:
        if self._start:
            with self.path.open("rb") as file:
                number += file.read(self._start).count(b"\n")
        return ValueError(
            f"Line {number} of {self.path} is not part of a {FORMAT}. The file "
            "is damaged: delete this line from a copy of it to read the others."
        )


def encoded(entries: list[dict[str, Any]]) -> bytes:
    """One JSON object per line."""
    lines = (json.dumps(entry, allow_nan=False) for entry in entries)
    return "".join(line + "\n" for line in lines).encode()


def is_header(entry: dict[str, Any] | None) -> bool:
    """Whether an entry is what a monitor writes before its first row."""
    return entry is not None and entry.get("format") == FORMAT


def damage(path: pathlib.Path, entry: dict[str, Any]) -> ValueError:
    """What to raise where an object says nothing that a recording would."""
    return ValueError(
        f"{path} is damaged: one of its lines is not part of a {FORMAT}. "
        f"Received: {json.dumps(entry)[:80]}."
    )


def _check_header(path: pathlib.Path, file: IO[bytes]) -> None:
    """Looks at the beginning alone, whatever the file holds and its size."""
    start = file.read(len(FORMAT) + 20).lstrip()
    if FORMAT.encode() in start:
        line = start + file.readline(_LONGEST_HEADER)
        if is_header(_parsed(line.partition(b"\n")[0])):
            return
    raise ValueError(
        f"{path} is not a {FORMAT}. Received: a file that begins with "
        f"{start[:20]!r}."
    )


def _check_version(path: pathlib.Path, entry: dict[str, Any]) -> None:
    version = entry.get("version")
    if is_header(entry) and version not in (1, VERSION):
        raise ValueError(
            f"{path} was written by another version of keras-concepts: this "
            f"one reads format 1 to {VERSION}. Upgrade keras-concepts to read "
            f"it. Received: format {version}."
        )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:  # of JSON or of its encoding
        return None
    return entry if isinstance(entry, dict) else None
