"""Shared parts of all figures of the reports."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_concepts._figures import new_figure

TITLE_SIZE = 14
LABEL_SIZE = 12
TICK_SIZE = 10.5


def empty_figure(sentence: str) -> Any:
    """A figure with a sentence, for when there is nothing to draw."""
    figure = new_figure(8.0, 2.0)
    figure.suptitle(sentence)
    return figure


def add_legend(figure: Any, entries: Sequence[Any]) -> None:
    """A legend below everything, in as few lines as possible."""
    if not entries:
        return
    characters = [len(entry.get_label()) + 8 for entry in entries]
    room = 10.0 * figure.get_figwidth()
    columns = range(len(entries), 1, -1)
    figure.legend(
        handles=entries,
        loc="outside lower center",
        ncols=next((n for n in columns if _width(characters, n) < room), 1),
        frameon=False,
        fontsize=LABEL_SIZE,
    )


def _width(characters: Sequence[int], columns: int) -> int:
    """Entries in the order in which a legend fills this many columns."""
    parts = np.array_split(characters, columns)
    return sum(int(part.max()) for part in parts)
