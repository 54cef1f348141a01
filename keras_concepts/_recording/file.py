"""The file of a recording: JSON lines, appended to.

A line ends with the CRC-32 of the text before it. This detects damage that
leaves valid JSON with wrong content.
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
# Longer than any header and any line: a file of another kind is not read whole.
_LONGEST_HEADER, _LONGEST_LINE = 1 << 24, 1 << 28
# Upper limit of the numbers of runs, epochs and steps.
_LARGEST = 1 << 62
# Exceptions that reading a damaged entry may raise.
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
    """The objects of a file, headers included, read on demand.

    An incomplete line is skipped where a killed process may have left it: at
    the end, or before a header. Blank lines are ignored.

    Args:
        path: The file.
        start: Where a line begins; the first one must be a header.

    Attributes:
        end: Where the next line begins, once all have been read.
        line: Number of the line read last, from 1 at `start`.

    Raises:
        ValueError: The file is not a recording, was written by a newer version,
            or is damaged.
    """

    def __init__(self, path: pathlib.Path, start: int = 0) -> None:
        self.path = path
        self.end = start
        self.line = 0
        self._start = start
        self._half = 0  # number of the line before, if incomplete
        self._has_seals = False  # since format 3

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for line in self.lines():
            entry = self.parsed(line)
            if entry is not None:
                yield entry

    def lines(self) -> Iterator[bytes]:
        """Lines that are not blank; pass each to `parsed`."""
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
        """Whether the line before was incomplete: a header must follow."""
        return self._half > 0

    def parsed(self, line: bytes) -> dict[str, Any] | None:
        """The content of a line, or `None` if the line is incomplete.

        The entry `"line"` holds the number of the line.
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
        """The error to raise for a line that no recording would contain.

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
    """Returns a value of an entry if it has the expected type.

    Raises:
        TypeError: It has another type.
        ValueError: It is an integer, but neither a count nor -1.
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
    """Checks only the beginning, whatever the content and size of the file."""
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
    except (ValueError, RecursionError):  # from JSON or its encoding
        return None
    return entry if isinstance(entry, dict) else None
