"""Short names of variables, for tables and axes."""

import re
from collections import Counter
from collections.abc import Sequence

_OF_LAYER = "/_"


def short_names(paths: Sequence[str]) -> list[str]:
    """Names as short as they can be without two becoming one.

    Drops the leading parts that all paths share (the model's name), the cell of
    a recurrent layer, and the variable's own name where its layer has no other:
    `model/gru/gru_cell/kernel` becomes `gru/kernel`, or `gru`.

    Args:
        paths: Paths of variables, such as `sequential/dense/kernel`.

    Returns:
        One name a path, in their order.
    """
    parts = [re.sub(r"/[^/]*_cell(?=/)", "", path).split("/") for path in paths]
    while min(map(len, parts), default=0) > 2 and _same_head(parts):
        parts = [part[1:] for part in parts]
    layers = Counter("/".join(part[:-1]) for part in parts)
    names = []
    for part in parts:
        layer = "/".join(part[:-1])
        names.append(layer if layers[layer] == 1 and layer else "/".join(part))
    return names if len(set(names)) == len(names) else list(paths)


def layer_names(paths: Sequence[str]) -> list[str]:
    """Names of layers: the last part of the path, if no other ends in it.

    `model/bidirectional/forward_lstm` becomes `forward_lstm`; of two that end
    in `dense`, one becomes `encoder/dense` and the other `decoder/dense`.
    """
    names = short_names([path + _OF_LAYER for path in paths])
    lasts = [path.rpartition("/")[2] for path in paths]
    count = Counter(lasts)
    return [
        last if count[last] == 1 else name.removesuffix(_OF_LAYER)
        for name, last in zip(names, lasts, strict=True)
    ]


def shorten(name: str, width: int) -> str:
    """Cuts the middle out of a name that is longer than `width` characters."""
    if len(name) <= width:
        return name
    gap = "..." if width > 6 else "."
    head = (width - len(gap) + 1) // 2
    tail = width - len(gap) - head
    return (name[:head] + gap + name[len(name) - tail :])[:width]


def _same_head(parts: list[list[str]]) -> bool:
    return len({part[0] for part in parts}) == 1
