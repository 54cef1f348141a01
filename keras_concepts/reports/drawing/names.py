"""Short names of variables and layers, for tables and axes."""

import functools
import itertools
import re
from collections import Counter
from collections.abc import Sequence

from keras_concepts._shown_as_text import literal, printable

_OF_LAYER = "/_"
_GAP = "..."


def short_names(paths: Sequence[str]) -> list[str]:
    """Names as short as possible while all stay different.

    Drops the leading parts that all paths share (the model's name), the cell of
    a recurrent layer, and the variable's own name if its layer has no other:
    `model/gru/gru_cell/kernel` becomes `gru/kernel`, or `gru`.

    Args:
        paths: Paths of variables, such as `sequential/dense/kernel`.

    Returns:
        One name per path, in the same order.
    """
    paths = [printable(path) for path in paths]
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
    paths = [printable(path) for path in paths]
    names = short_names([path + _OF_LAYER for path in paths])
    lasts = [path.rpartition("/")[2] for path in paths]
    count = Counter(lasts)
    return [
        last if count[last] == 1 else name.removesuffix(_OF_LAYER)
        for name, last in zip(names, lasts, strict=True)
    ]


def shorten(names: Sequence[str], width: int) -> list[str]:
    """Cuts the middle out of names that are longer than `width` characters.

    Different names stay different. First, what all of them begin with is
    dropped, such as the name of the model in `resnet_block_1_conv`. If they
    differ only in the middle, another part is cut; as a last resort, the index
    in the list comes first: `12...projection`.

    Args:
        names: All names that are shown together.
        width: Maximum length of a name; enough for the indices.
    """
    return list(_shortened(tuple(names), width))


def figure_names(names: Sequence[str], width: int) -> list[str]:
    """The result of `shorten`, escaped for a figure."""
    return [literal(name) for name in shorten(names, width)]


def legible_width(names: Sequence[str], least: int, most: int) -> int:
    """Smallest width, from `least`, that distinguishes names without indices.

    Args:
        names: All names that are shown together.
        least: Smallest width worth trying.
        most: Width at which to give up.
    """
    if max(map(len, names), default=0) > most:
        names = _without_beginning(names)
    longest = max(map(len, names), default=0)
    for width in range(min(least, longest), min(most, longest)):
        if _told_apart(names, width) is not None:
            return width
    return min(most, longest)


@functools.lru_cache(maxsize=64)  # a table asks for each of its cells
def _shortened(names: tuple[str, ...], width: int) -> Sequence[str]:
    if max(map(len, names), default=0) > width:
        names = tuple(_without_beginning(names))
    cut = _told_apart(names, width)
    if cut is not None:
        return cut
    cut = [
        _cut(f"{place}{_GAP}{name}", width, len(str(place)))
        if len(name) > width
        else name
        for place, name in enumerate(names, start=1)
    ]
    if len(set(cut)) == len(set(names)):
        return cut
    return [str(place) for place in range(1, len(names) + 1)]


def _without_beginning(names: Sequence[str]) -> Sequence[str]:
    """Names without their common first words, except those before a number."""
    if len(set(names)) < 2:
        return names
    first, last = min(names), max(names)
    pairs = zip(first, last, strict=False)
    shared = sum(1 for _ in itertools.takewhile(lambda x: x[0] == x[1], pairs))
    for end in range(shared, 0, -1):
        # Only the next letters, not the whole rest: names may be megabytes
        # long.
        if first[end - 1] in "_/." and all(
            name[end : end + 1].isalpha() for name in names
        ):
            return [name[end:] for name in names]
    return names


def _told_apart(names: Sequence[str], width: int) -> list[str] | None:
    most = max(width - len(_GAP), 1)
    middle = (most + 1) // 2
    # From the middle outwards, so that both ends stay readable.
    for head in sorted(range(most + 1), key=lambda head: abs(head - middle)):
        cut = [_cut(name, width, head) for name in names]
        if len(set(cut)) == len(set(names)):
            return cut
    return None


def _cut(name: str, width: int, head: int) -> str:
    if len(name) <= width:
        return name
    gap = _GAP[: max(width - 2, 0)]
    head = min(head, width - len(gap))
    tail = width - len(gap) - head
    return name[:head] + gap + name[len(name) - tail :]


def _same_head(parts: list[list[str]]) -> bool:
    return len({part[0] for part in parts}) == 1
