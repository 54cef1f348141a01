"""A file that one process appends to, and no other."""

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

# A byte that no recording reaches, so that readers are not kept out on Windows.
_LOCKED_BYTE = 1 << 62

_held: weakref.WeakValueDictionary[str, "HeldFile"]
_held = weakref.WeakValueDictionary()
_mutex = threading.RLock()


class HeldFile:
    """Use `hold` to get one. The lock goes with the last reference to it.

    Args:
        path: File to append to, which is made if it is missing.

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
        with contextlib.suppress(OSError):  # of a process that was killed
            _part_of(pathlib.Path(os.path.realpath(path))).unlink()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return os.fstat(self._file.fileno()).st_size

    def append(self, lines: bytes, header: bytes) -> None:
        """Appends whole lines, or nothing at all if that fails.

        Args:
            lines: What to append.
            header: The line that says to a reader that the one before it may
                be half a line, which a killed process has left.
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
        """Puts another file in the place of this one, at once.

        Args:
            path: The name of the file.
            lines: Of the other one.

        Raises:
            OSError: That cannot be done. The file is as it was.
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
        """Whether this is the file that has the name now."""
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
    """The file that is to take the place of another; its holder's alone."""
    return path.with_name(f".{path.name}.tmp")


def hold(path: pathlib.Path) -> HeldFile:
    """The file, to be shared by all who write to it in this process."""
    with _mutex:
        name = os.path.realpath(path)
        held = _held.get(name)
        while held is None or not held.is_at(path):
            # Which another process may write again before it can be locked.
            held = _held[name] = HeldFile(path)
        return held


def _lock(descriptor: int) -> bool:
    """Whether no other process holds the file; true where none can tell."""
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
    """In a forked process: the files are held by the one it comes from."""
    global _mutex
    _mutex = threading.RLock()
    for held in list(_held.values()):
        held._close()
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
