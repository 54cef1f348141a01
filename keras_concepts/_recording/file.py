"""The file of a recording: JSON lines, appended to.

A line ends with the CRC-32 of what stands before it, so that damage is seen
which leaves JSON that is valid and wrong.
"""

import json
import pathlib
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, TypeVar

_T = TypeVar("_T")
FORMAT = "keras-concepts recording"
VERSION = 3
# Longer than any header, and than any line: no other file is read to its end.
_LONGEST_HEADER, _LONGEST_LINE = 1 << 24, 1 << 28
# Of runs, epochs and steps.
_LARGEST = 1 << 62
# What comes of reading an entry that is none.
DAMAGE = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)
_SEAL = re.compile(rb', "crc": (\d{1,10})\}\s*$')
_LONGEST_SEAL = 24


class Entries:
    """The objects of a file, headers included, read as they are asked for.

    A line that is not whole is left out where a process that was killed may
    have left it: at the end, or before a header. Blank lines mean nothing.

    Args:
        path: The file.
        start: Where a line begins; the first one must be a header.

    Attributes:
        end: Where the next line begins, once all have been read.
        line: Number of the line that was read last, from 1 at `start`.

    Raises:
        ValueError: The file is not a recording, was written by a newer version,
            or is damaged.
    """

    def __init__(self, path: pathlib.Path, start: int = 0) -> None:
        self.path = path
        self.end = start
        self.line = 0
        self._start = start
        self._half = 0  # line before this one, if that was not whole
        self._has_seals = False  # since format 3

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self.lines():
            entry = self.parsed(line)
            if entry is not None:
                yield entry

    def lines(self) -> Iterator[bytes]:
        """Lines that are not blank; each is to be given to `parsed`."""
        with self.path.open("rb") as file:
            _check_header(self.path, file)
            _ = file.seek(self._start)
            while line := file.readline(_LONGEST_LINE):
                self.line += 1
                if not line.isspace():
                    yield line
                if line.endswith(b"\n"):
                    self.end += len(line)

    def is_after_half_a_line(self) -> bool:
        """Whether only a header may follow."""
        return self._half > 0

    def parsed(self, line: bytes) -> dict[str, Any] | None:
        """What a line says, `None` if it is not whole.

        An entry has the number of its line, as `"line"`.
        """
        entry = _parsed(line)
        if self._half and not is_header(entry):
            raise self.damage(self._half)
        self._half = 0
        if entry is not None:
            _check_version(self.path, entry)
            if is_header(entry):
                self._has_seals = entry["version"] >= 3
        seal = _SEAL.search(line, max(0, len(line) - _LONGEST_SEAL))
        if seal is not None:
            crc = zlib.crc32(b"}", zlib.crc32(memoryview(line)[: seal.start()]))
            if entry is None or crc != int(seal[1]):
                raise self.damage(self.line)
        elif entry is not None and self._has_seals:
            raise self.damage(self.line)
        if entry is None:
            self._half = self.line
            return None
        entry["line"] = self.line
        return entry

    def damage(self, line: int) -> ValueError:
        """What to raise where a line says nothing that a recording would.

        Args:
            line: Its number, from 1 where reading began.
        """
        if self._start:
            with self.path.open("rb") as file:
                line += file.read(self._start).count(b"\n")
        return ValueError(
            f"Line {line} of {self.path} is not part of a {FORMAT}. The file "
            "is damaged: delete this line from a copy of it to read the others."
        )


def encoded(entries: Iterable[dict[str, Any]]) -> bytes:
    """One JSON object per line."""
    return b"".join(map(_sealed, entries))


def is_header(entry: dict[str, Any] | None) -> bool:
    """Whether an entry is what a monitor writes before its first row."""
    return entry is not None and entry.get("format") == FORMAT


def typed(kind: type[_T], value: Any) -> _T:
    """A value of an entry, if it is what it should be.

    Raises:
        TypeError: It is something else.
        ValueError: It is no count, and -1 neither.
    """
    if type(value) is not kind:
        raise TypeError(f"Expected {kind.__name__}.")
    if isinstance(value, int) and not -1 <= value < _LARGEST:
        raise ValueError("Expected a count.")
    return value


def _sealed(entry: dict[str, Any]) -> bytes:
    line = json.dumps(entry, allow_nan=False).encode()
    return b'%b, "crc": %d}\n' % (line[:-1], zlib.crc32(line))


def _check_header(path: pathlib.Path, file: IO[bytes]) -> None:
    """Looks at the beginning alone, whatever the file holds and its size."""
    start = file.read(len(FORMAT) + 20).lstrip()
    if FORMAT.encode() in start:
        line = start + file.readline(_LONGEST_HEADER)
        entry = _parsed(line.partition(b"\n")[0])
        if entry is not None and is_header(entry):
            _check_version(path, entry)
            return
    raise ValueError(
        f"{path} is not a {FORMAT}. Received: a file that begins with "
        f"{start[:20]!r}."
    )


def _check_version(path: pathlib.Path, entry: dict[str, Any]) -> None:
    version = entry.get("version")
    if is_header(entry) and version not in range(1, VERSION + 1):
        raise ValueError(
            f"{path} was written by another version of keras-concepts: this "
            f"one reads format 1 to {VERSION}. Upgrade keras-concepts to read "
            f"it. Received: format {str(version)[:20]}."
        )


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):  # of JSON or of its encoding
        return None
    return entry if isinstance(entry, dict) else None
