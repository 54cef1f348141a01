"""Files that are whole at any moment."""

import os
import pathlib


def replace_file(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file all at once: nobody who reads it finds half of it.

    Args:
        path: File, which may exist.
        text: Of the whole file.

    Raises:
        OSError: The file cannot be written. It is as it was before.
    """
    path = pathlib.Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _ = part.write_text(text, encoding="utf-8", newline="\n")
        _ = part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
