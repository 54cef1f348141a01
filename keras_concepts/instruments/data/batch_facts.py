"""Facts of data that arrive batch by batch."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts.instruments.data.array_facts import (
    count_non_finite,
    parts_by_head,
)
from keras_concepts.instruments.data.copied_labels import copied_input
from keras_concepts.instruments.data.input_statistics import InputStatistics
from keras_concepts.instruments.data.label_order import LabelOrder
from keras_concepts.instruments.data.labels import (
    LabelForm,
    class_of_rows,
    label_form,
)
from keras_concepts.instruments.data.rows import (
    as_numpy,
    entries_per_row,
    named_leaves,
    row_count,
    spread_rows,
)
from keras_concepts.instruments.data.target_statistics import target_facts
from keras_concepts.instruments.heads import Head

MOST_ROWS = 4096
MOST_BATCHES = 64
SMALL_BATCHES = 256
_MOST_ORDERED_BATCHES = 1024
_ENTRIES_OF_BATCH = 250_000
_MOST_LABELS = 4_000_000  # entries kept
_PROBE_ROWS = 256
_PROBE_ENTRIES = 20_000_000


class BatchFacts:
    """Facts of inputs and labels, from passing batches.

    The first 4,096 rows or 64 batches are examined, whichever is later, but 256
    batches at most; from each batch up to 250,000 evenly spaced numbers of each
    input. After that only the order of the classes, in up to 1,024 batches, of
    which TensorFlow shows 256.

    Attributes:
        batches: Batches that have passed.
        rows: Rows that were examined.
        has_weights: Whether the batches hold sample weights.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.rows = 0
        self.has_weights = False
        self._sizes: list[int] = []
        self._inputs: dict[str, InputStatistics] = {}
        self._labels: list[list[np.ndarray]] = []
        self._weights: list[list[np.ndarray]] = []
        self._kept_labels = 0
        self._structures: tuple[Any, Any] = (None, None)
        # With the form of the labels; `None` where rows have no order.
        self._orders: list[tuple[LabelOrder, LabelForm | None]] = []
        # Cached facts of targets, which are slow to compute, and their key.
        self._known: tuple[Any, list[dict[str, Any]]] | None = None
        self._first: list[Any] = []
        self._first_rows = 0

    @property
    def is_complete(self) -> bool:
        """Whether only the order of labels is still examined."""
        if self.batches >= SMALL_BATCHES:
            return True
        return self.rows >= MOST_ROWS and self.batches >= MOST_BATCHES

    def update(
        self, x: Any, y: Any, sample_weight: Any, heads: Sequence[Head]
    ) -> None:
        """Examines a batch.

        Args:
            x: Inputs, arrays in any structure; `None` for what is not dense.
            y: Labels, likewise.
            sample_weight: As Keras passes it to the loss, or `None`.
            heads: Outputs of the model.
        """
        if not self.is_complete:
            self._look_at(x, y, sample_weight)
        if self.batches < _MOST_ORDERED_BATCHES:
            self._order(y, heads)
        self.batches += 1

    def _look_at(self, x: Any, y: Any, sample_weight: Any) -> None:
        rows = row_count(x) or row_count(y) or 0
        self._sizes.append(rows)
        self.rows += rows
        self.has_weights |= sample_weight is not None
        arrays = keras.tree.map_structure(as_numpy, (x, y, sample_weight))
        x, y, sample_weight = arrays
        for name, array in named_leaves(x, "input"):
            known = self._inputs.setdefault(name, InputStatistics(name))
            if array.ndim:
                most = max(_ENTRIES_OF_BATCH // entries_per_row(array), 1)
                part = array[spread_rows(len(array), most, self.batches)]
                known.update(part)
                if len(part) < len(array):
                    known.add_non_finite(
                        count_non_finite(array) - count_non_finite(part)
                    )
        self._keep_labels(y, sample_weight)
        self._keep_first(arrays, rows)

    def _keep_labels(self, y: Any, sample_weight: Any) -> None:
        labels = keras.tree.flatten(y)
        if not labels or any(each is None for each in labels):
            return
        if not self._labels:
            self._structures = (
                keras.tree.map_structure(lambda _: 0, y),
                keras.tree.map_structure(lambda _: 0, sample_weight),
            )
        self._kept_labels += sum(each.size for each in labels)
        if self._labels and self._kept_labels > _MOST_LABELS:
            return
        # Copies: a framework may write the next batch to the same memory.
        self._labels.append([np.array(each) for each in labels])
        weights = keras.tree.flatten(sample_weight)
        self._weights.append([np.array(w) for w in weights if w is not None])

    def _keep_first(self, batch: Any, rows: int) -> None:
        if self._first_rows >= _PROBE_ROWS or not rows:
            return
        entries = sum(
            entries_per_row(a)
            for a in keras.tree.flatten(batch)
            if a is not None
        )
        most = max(min(_PROBE_ROWS, _PROBE_ENTRIES // max(entries, 1)), 1)
        wanted = min(most - self._first_rows, rows)
        if wanted > 0:
            self._first.append(
                keras.tree.map_structure(
                    lambda a: None if a is None else np.array(a[:wanted]), batch
                )
            )
            self._first_rows += wanted

    def _order(self, y: Any, heads: Sequence[Head]) -> None:
        if y is None or not keras.tree.flatten(y):
            return
        parts = parts_by_head(y, None, heads)
        if not self._orders:
            self._orders = [(LabelOrder(), _form(*each)) for each in parts]
        for (order, form), (_, labels, _) in zip(
            self._orders, parts, strict=False
        ):
            read = None if form is None else as_numpy(labels)
            if read is not None and form is not None:
                classes = class_of_rows(read, form)
                if classes is not None:
                    order.update(classes)

    @property
    def batch_size(self) -> int:
        """Rows of the largest batch, 0 before the first."""
        return max(self._sizes, default=0)

    def probe(self, rows: int) -> tuple[Any, Any, Any] | None:
        """The first rows, `(x, y, sample_weight)`, up to 256."""
        if not self._first:
            return None
        x, y, sample_weight = self._first[0]
        if any(leaf is None for leaf in keras.tree.flatten(x)):
            return None
        try:
            joined = keras.tree.map_structure(_joined, *self._first)
        except ValueError:  # batches of different shapes: only the first
            joined = self._first[0]
        x, y, sample_weight = keras.tree.map_structure(
            lambda a: None if a is None else a[:rows], joined
        )
        return x, y, sample_weight

    def facts(self, heads: Sequence[Head], of: int | None) -> dict[str, Any]:
        """As `array_facts`, for the batches so far.

        Args:
            heads: Outputs of the model.
            of: Total number of rows, if known.
        """
        missing: dict[str, None] = {}
        inputs = []
        for name, each in self._inputs.items():
            inputs.append(each.facts())
            if inputs[-1]["dtype"] == "string":
                missing[f"The input {name!r} holds text: no statistics."] = None
        if not inputs:
            missing["The inputs are sparse or ragged: no statistics."] = None
        return {
            "source": "batches",
            "rows": self.rows,
            "of": of,
            "step": len(self._sizes),
            "inputs": inputs,
            "targets": self._targets(heads, missing, of),
            "validation": None,
            "missing": list(missing),
        }

    def _targets(
        self,
        heads: Sequence[Head],
        missing: dict[str, None],
        of: int | None,
    ) -> list[dict[str, Any]]:
        if not self._labels:
            missing["There are no dense labels."] = None
            return []
        try:
            labels = [
                np.concatenate(e) for e in zip(*self._labels, strict=True)
            ]
            weights = [
                np.concatenate(e) for e in zip(*self._weights, strict=True)
            ]
            y = keras.tree.pack_sequence_as(self._structures[0], labels)
            sample_weight = None
            if weights:
                sample_weight = keras.tree.pack_sequence_as(
                    self._structures[1], weights
                )
        except ValueError:
            missing["Labels of different shapes: no statistics."] = None
            return []
        key = (len(self._sizes), id(heads), of)
        if self._known is None or self._known[0] != key:
            # Masks are known where inputs were kept: in the first rows.
            few: tuple[Any, Any, Any] | None = None
            if any(head.mask is not None for head in heads):
                few = self.probe(_PROBE_ROWS)
            x, few_y, few_weight = few or (None, y, sample_weight)
            found = []
            for all_, first in zip(
                parts_by_head(y, sample_weight, heads),
                parts_by_head(few_y, few_weight, heads),
                strict=True,
            ):
                head, part, weight = all_ if all_[0].mask is None else first
                if part is not None and part.ndim:
                    rows = math.inf if of is None else of
                    size = self.batch_size
                    found.append(
                        target_facts(part, head, weight, size, rows, x)
                    )
            self._known = (key, found)
        found = [dict(each) for each in self._known[1]]
        self._compare(found, heads)
        if len(found) != len(self._orders):
            return found
        for facts, (order, _) in zip(found, self._orders, strict=True):
            if facts["form"] != "real":
                facts["sorted"] = order.sortedness()
                facts["runs"] = order.runs()
                facts["classes_per_batch"] = order.classes_per_batch()
        return found

    def _compare(self, found: list[dict[str, Any]], heads: Any) -> None:
        """Adds which input the labels of the first rows repeat."""
        first = self.probe(_PROBE_ROWS)
        if first is None or first[1] is None:
            return
        x, y, _ = first
        for head, labels, _ in parts_by_head(y, None, heads):
            for facts in found:
                if facts["output"] == head.facts["output"]:
                    loss = head.loss
                    ignored = [None if loss is None else loss.ignore_class]
                    facts["copied_input"] = copied_input(x, labels, ignored)


def _form(head: Head, labels: Any, _: Any) -> LabelForm | None:
    """The form of labels, if each row has one class."""
    read = as_numpy(labels)
    if read is None or not read.ndim:
        return None
    form = label_form(read, head.facts)
    if form == "real" or class_of_rows(read, form) is None:
        return None
    return form


def _joined(*parts: Any) -> Any:
    if any(part is None for part in parts):
        return None
    return np.concatenate(parts)
