"""Names of variables and layers in a recording."""

from collections.abc import Sequence
from typing import Any


def named(owners: Sequence[Any]) -> list[tuple[Any, str]]:
    """Each with its path; the second of the same path is `path (2)`."""
    counts: dict[str, int] = {}
    found = []
    for owner in owners:
        path = owner.path or owner.name
        counts[path] = counts.get(path, 0) + 1
        found.append(
            (owner, path if counts[path] == 1 else f"{path} ({counts[path]})")
        )
    return found
