"""Files that are complete at any time."""

import os
import pathlib


def replace_file(path: str | os.PathLike[str], text: str) -> None:
    """Writes a file at once, so that no reader finds half of it.

    Args:
        path: File, which may exist.
        text: Content of the whole file.

    Raises:
        OSError: The file cannot be written. It is unchanged.
    """
    path = pathlib.Path(path).resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _ = part.write_text(text, encoding="utf-8", newline="\n")
        _ = part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
