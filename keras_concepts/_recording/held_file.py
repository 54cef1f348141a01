"""A file that only one process may append to."""

import contextlib
import io
import os
import pathlib
import shutil
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# A byte past any recording, so that Windows does not block readers.
_LOCKED_BYTE = 1 << 62

_held: weakref.WeakValueDictionary[str, "HeldFile"]
_held = weakref.WeakValueDictionary()
_mutex = threading.RLock()


class HeldFile:
    """Use `hold` to get one. The lock ends with the last reference to it.

    Args:
        path: File to append to, created if it is missing.

    Raises:
        BlockingIOError: Another process holds the file.
        OSError: The file cannot be opened for writing.
    """

    def __init__(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._open(path.open("a+b", buffering=0))
        if not _lock(self._file.fileno()):
            self._file.close()
            raise BlockingIOError(
                f"{path} must have one writer. Received: a file that another "
                "process is recording to. Give each process its own file, or "
                "wait until the other one has ended."
            )
        with contextlib.suppress(OSError):  # left by a killed process
            _part_of(pathlib.Path(os.path.realpath(path))).unlink()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def append(self, lines: bytes, header: bytes) -> None:
        """Appends whole lines, or nothing at all if that fails.

        Args:
            lines: What to append.
            header: The line that tells a reader that the line before it may be
                incomplete, left by a killed process.
        """
        with _mutex:
            size = self.size
            if size and not self._ends_a_line():
                lines = b"\n" + header + lines
            try:
                rest = memoryview(lines)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except BaseException:
                with contextlib.suppress(OSError):
                    _ = self._file.truncate(size)
                raise

    def lines(self) -> Iterator[bytes]:
        """All lines, from the beginning."""
        with open(self._file.fileno(), "rb", closefd=False) as file:
            _ = file.seek(0)
            yield from file

    def rewrite(self, path: pathlib.Path, lines: Iterable[bytes]) -> None:
        """Replaces the file by another one atomically.

        Args:
            path: Name of the file.
            lines: Lines of the new file.

        Raises:
            OSError: It cannot be replaced. The old file is unchanged.
        """
        path = pathlib.Path(os.path.realpath(path))
        part = _part_of(path)
        with _mutex:
            part.unlink(missing_ok=True)
            other = part.open("a+b")
            try:
                shutil.copymode(path, part)
                other.writelines(lines)
                other.flush()
                if not _lock(other.fileno()):
                    raise BlockingIOError(f"{part} cannot be locked.")
                _ = part.replace(path)
            except BaseException:
                other.close()
                part.unlink(missing_ok=True)
                raise
            self._file.close()
            self._open(os.fdopen(os.dup(other.fileno()), "a+b", buffering=0))
            other.close()

    def _open(self, file: io.FileIO) -> None:
        self._file = file
        weakref.finalize(self, file.close).atexit = False

    def is_at(self, path: pathlib.Path) -> bool:
        """Whether the name still refers to this file."""
        if self._file.closed:
            return False
        try:
            there = path.stat()
        except OSError:
            return False
        return os.path.samestat(os.fstat(self._file.fileno()), there)

    def _ends_a_line(self) -> bool:
        _ = self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) == b"\n"

    def _close(self) -> None:
        self._file.close()


def _part_of(path: pathlib.Path) -> pathlib.Path:
    """The file that will replace another; only the holder uses it."""
    return path.with_name(f".{path.name}.tmp")


def hold(path: pathlib.Path) -> HeldFile:
    """The file, shared by all writers in this process."""
    with _mutex:
        name = os.path.realpath(path)
        held = _held.get(name)
        while held is None or not held.is_at(path):
            # Another process may replace the file before it is locked.
            held = _held[name] = HeldFile(path)
        return held


def _lock(descriptor: int) -> bool:
    """Whether no other process holds the file; true if that is unknown."""
    try:
        if sys.platform == "win32":
            _ = os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _forget() -> None:
    """Releases the files in a forked process: its parent holds them."""
    global _mutex
    _mutex = threading.RLock()
    for held in list(_held.values()):
        held._close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
