"""The data that `preflight` was given, arrays or batches."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._batches import as_fed
from keras_concepts.instruments.data.batch_facts import BatchFacts
from keras_concepts.instruments.data.few_batches import few_batches
from keras_concepts.instruments.data.rows import (
    entries_per_row,
    row_count,
    spread_rows,
    take_rows,
)
from keras_concepts.instruments.heads import heads_of

OWNER = "preflight"
# Number of rows to predict, and the maximum of their entries.
ROWS = 64
# Of the first batches.
_PROBE_ROWS = 256
_ENTRIES = 4_000_000
_BATCHES = 64


@dataclasses.dataclass
class Given:
    """What `preflight` was given, arrays or batches.

    Attributes:
        parts: `(x, y, sample_weight)` of the training rows, in arrays.
        batches: Facts of batches, if batches were given.
        validation: The same for validation rows, or `None`.
        split: The argument `validation_split`.
        batch_size: The argument `batch_size`.
    """

    parts: tuple[Any, Any, Any]
    batches: BatchFacts | None
    validation: tuple[Any, Any, Any] | None
    split: float
    batch_size: int

    def rows(self, most: int) -> tuple[Any, Any, Any]:
        """Some rows in NumPy, evenly spaced, whose numbers are all finite."""
        leaves = [x for x in keras.tree.flatten(self.parts) if x is not None]
        entries = sum(map(entries_per_row, leaves))
        most = max(min(most, _ENTRIES // entries), 1)
        count = row_count(self.parts[0]) or 0
        parts = taken(self.parts, spread_rows(count, most))
        finite = _finite_rows(parts)
        return (
            parts
            if finite.all() or not finite.any()
            else taken(parts, np.flatnonzero(finite))
        )


def take_in(
    model: Any, parts: Any, held: Any, split: float, batch_size: int
) -> Given:
    """The data that was given; builds the model."""
    x, *others = parts
    validation = None
    if isinstance(held, list | tuple):
        validation = keras.utils.unpack_x_y_sample_weight(held)
    if not _are_arrays(x, others[0]):
        if any(each is not None for each in others):
            raise ValueError(
                "`y` and `sample_weight` of `preflight` are for arrays; "
                f"batches contain their own. Received: x={type(x).__name__}, "
                f"y={type(others[0]).__name__}."
            )
        batches = _batch_facts(model, x)
        parts = batches.probe(_PROBE_ROWS)
        if parts is None:
            raise _no_rows(x)
        return Given(parts, batches, validation, split, batch_size)
    count = row_count(x)
    if not count:
        raise _no_rows(x)
    if split and validation is None:
        first = math.floor(count * (1.0 - split))
        parts, validation = _cut(parts, 0, first), _cut(parts, first, count)
    given = Given(parts, None, validation, split, batch_size)
    _build(model, given.rows(2)[0])
    return given


def _no_rows(x: Any) -> ValueError:
    return ValueError(
        "`x` of `preflight` must hold at least one row, in dense arrays. "
        f"Received: x of type {type(x).__name__}."
    )


def _batch_facts(model: Any, data: Any) -> BatchFacts:
    """Facts of the first batches. The very first builds the model."""
    facts = BatchFacts()
    # Processes that must agree cannot rely on their clocks.
    seconds = 2.0 if _backend.process_count(model) == 1 else math.inf
    first = [*few_batches(OWNER, data, 1, seconds)]
    if not first:
        raise _no_rows(data)
    x, y, _ = keras.utils.unpack_x_y_sample_weight(first[0])
    # After the random states were restored, so that the model keeps its own.
    _build(model, x)
    heads = heads_of(model, x, y)
    for batch in few_batches(OWNER, data, _BATCHES, seconds):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        facts.update(x, y, weight, heads)
    return facts


def _build(model: Any, x: Any) -> None:
    if not model.built:
        with _backend.kept_state(model):
            _ = _backend.call_as_trainer(model, as_fed(x), training=False)


def _are_arrays(x: Any, y: Any) -> bool:
    if isinstance(x, list | tuple):
        # A list of inputs, not of batches `(x, y)`.
        return y is not None or not any(
            isinstance(each, list | tuple) for each in x
        )
    return isinstance(x, dict) or hasattr(x, "shape")


def _cut(parts: Any, first: int, end: int) -> Any:
    return taken(parts, np.arange(first, end))


def taken(parts: Any, rows: np.ndarray) -> Any:
    return keras.tree.map_structure(
        lambda a: None if a is None else take_rows(a, rows), parts
    )


def _finite_rows(parts: Any) -> np.ndarray:
    count = row_count(parts[0]) or 0
    finite = np.ones(count, bool)
    for array in keras.tree.flatten(parts):
        if array is not None and array.dtype.kind == "f":
            finite &= np.isfinite(array.reshape(count, -1)).all(axis=1)
    return finite
