"""The file of a recording: JSON lines, appended to and never overwritten."""

import json
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

FORMAT = "keras-concepts recording"
VERSION = 2


def append_lines(path: pathlib.Path, entries: Sequence[dict[str, Any]]) -> None:
    """Appends one JSON object per line; missing folders are made."""
    if not entries:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(e, allow_nan=False) + "\n" for e in entries)
    with path.open("a+b") as file:
        # A killed process may have left half a line: end it.
        if file.tell():
            _ = file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                text = "\n" + text
        _ = file.write(text.encode())


def read_entries(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """The objects of a file, headers included.

    A line that is not whole is left out where a process that was killed may
    have left it: at the end, or before a header.

    Raises:
        ValueError: The file is not a recording, was written by a newer version,
            or is damaged.
    """
    damaged = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, start=1):
            entry = _parsed(line)
            if number == 1 and not is_header(entry):
                break
            if damaged and not is_header(entry):
                raise ValueError(
                    f"Line {damaged} of {path} is not part of a {FORMAT}."
                )
            damaged = number if entry is None else 0
            if entry is not None:
                _check_version(path, entry)
                yield entry
        else:
            return
    raise ValueError(f"{path} is not a {FORMAT}.")


def is_header(entry: dict[str, Any] | None) -> bool:
    """Whether an entry is what a monitor writes before its first row."""
    return entry is not None and entry.get("format") == FORMAT


def _check_version(path: pathlib.Path, entry: dict[str, Any]) -> None:
    version = entry.get("version")
    if is_header(entry) and version not in (1, VERSION):
        raise ValueError(
            f"{path} was written by another version of keras-concepts: this "
            f"one reads format 1 to {VERSION}. Upgrade keras-concepts to read "
            f"it. Received: format {version}."
        )


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return entry if isinstance(entry, dict) else None
