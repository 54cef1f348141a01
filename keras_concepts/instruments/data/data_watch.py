"""The data of a running `fit`."""

from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts.instruments.data.array_facts import array_facts
from keras_concepts.instruments.data.batch_facts import BatchFacts
from keras_concepts.instruments.data.rows import (
    entries_per_row,
    row_count,
    spread_rows,
    take_rows,
)
from keras_concepts.instruments.heads import Head, heads_of

_PROBE_ENTRIES = 20_000_000


class DataWatch:
    """Examines what the running `fit` trains on.

    Arrays are read in place, when facts are asked for. For anything else the
    batches are examined as they pass in the first epoch; none is consumed,
    changed or moved.

    Create it in `on_train_begin`. Without a running Keras `fit`, as in a custom
    training loop, it has no facts and reports that.

    Args:
        model: The model in training.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._fit = _backend.running_fit(model)
        self._batches: BatchFacts | None = None
        self._facts: dict[str, Any] | None = None
        self._problems: list[str] = []
        self._closed = self._is_blind = False
        self._heads: list[Head] = []
        self._find_heads()
        self._fit_facts: dict[str, Any] | None = None
        self._batch_count = None
        if self._fit is not None and self._fit.arrays is None:
            self._batch_count = self._fit.iterator.num_batches
            self._watch_batches(self._fit.iterator)

    def _find_heads(self) -> None:
        self._was_built = bool(self._model.built)
        x = y = None
        if self._fit is not None and self._fit.arrays is not None:
            x, y, _ = self._fit.arrays
        elif self._batches is not None:
            x, y, _ = self._batches.probe(1) or (None, None, None)
        try:
            self._heads = heads_of(self._model, x, y)
        except Exception as error:  # no fact is worth a run
            self._problems.append(
                f"What the outputs compute is not known ({error})."
            )

    def _watch_batches(self, iterator: Any) -> None:
        facts = BatchFacts()

        def look(batch: Any) -> None:
            if self._closed or self._is_blind:
                return
            try:
                x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
                facts.update(x, y, weight, self._heads)
            except Exception as error:  # the run must go on
                self._is_blind = True
                self._problems.append(
                    f"A batch could not be read ({type(error).__name__}: "
                    f"{error})."
                )

        if _backend.watch_batches(iterator, look):
            self._batches = facts
        else:
            self._problems.append(
                "Batches of a distributed dataset cannot be read. Pass arrays "
                "to `fit`, or a probe."
            )

    @property
    def is_complete(self) -> bool:
        """Whether `facts` will hardly change any more."""
        if self._batches is None or self._closed or self._is_blind:
            return True
        return self._batches.is_complete

    def head_facts(self) -> list[dict[str, Any]]:
        """What each output computes; see `instruments.heads.head_facts`.

        More may be known once the model is built, after the first step.
        """
        self._refresh_heads()
        return [head.facts for head in self._heads]

    def facts(self) -> dict[str, Any] | None:
        """What is known about the data so far, JSON-compatible.

        See `array_facts`. `None` if no batch has been seen yet.
        """
        self._refresh_heads()
        if self._batches is not None:
            return self._batch_facts(self._batches)
        if self._facts is None and not self._closed:
            self._facts = self._array_facts()
        return self._facts

    def _refresh_heads(self) -> None:
        """Examines the data again once the model is built."""
        if not self._was_built and self._model.built and not self._closed:
            self._find_heads()
            self._facts = None

    def _batch_facts(self, batches: BatchFacts) -> dict[str, Any] | None:
        if not batches.rows:
            return None
        facts = batches.facts(self._heads, self._rows_in_all(batches))
        if self.fit_facts()["has_validation"]:
            facts["missing"].append(
                "Validation data were not compared with the training data, "
                "which are not arrays."
            )
        facts["missing"] += self._problems
        return facts

    def _rows_in_all(self, batches: BatchFacts) -> int | None:
        """Number of rows, to within a batch."""
        count = self._batch_count
        if not count:
            return None
        whole = batches.batches >= count and not batches.is_complete
        return batches.rows if whole else count * batches.batch_size

    def _array_facts(self) -> dict[str, Any]:
        fit = self._fit
        if fit is None or fit.arrays is None:
            unknown = ["No `fit` of Keras' own is running."]
            return _nothing(self._problems or unknown)
        try:
            facts = array_facts(
                *fit.arrays,
                self._heads,
                batch_size=fit.iterator.data_adapter.batch_size,
                shuffled=bool(fit.shuffles),
                validation=self._validation(),
            )
        except Exception as error:  # no fact is worth a run
            problem = f"{type(error).__name__}: {error}"
            return _nothing([f"The data could not be read ({problem})."])
        if facts["validation"] is None and self._has_validation():
            facts["missing"].append("The validation data are not arrays.")
        facts["missing"] += self._problems
        return facts

    def _has_validation(self) -> bool:
        return (
            self._fit is not None
            and self._fit.arguments.get("validation_data") is not None
        )

    def _validation(self) -> tuple[Any, Any, Any] | None:
        """The validation data, if they are arrays."""
        if self._fit is None or not self._has_validation():
            return None
        data = self._fit.arguments["validation_data"]
        if not isinstance(data, list | tuple):
            return None
        try:
            parts = keras.utils.unpack_x_y_sample_weight(data)
        except ValueError:
            return None
        leaves = keras.tree.flatten(parts)
        dense = all(x is None or hasattr(x, "shape") for x in leaves)
        return parts if dense and row_count(parts[0]) else None

    def fit_facts(self) -> dict[str, Any]:
        """What `fit` was called with, JSON-compatible.

        | key | value |
        |---|---|
        | `shuffle` | whether Keras shuffles all samples (of a `PyDataset`, its
            batches); `None` where the dataset decides the order. False for
            `"batch"`, which leaves each sample near its place |
        | `class_weight` | as given, with keys as strings, or `None` |
        | `sample_weight` | whether samples have weights |
        | `validation_split` | as given |
        | `has_validation` | whether there are validation data |
        | `initial_epoch` | first epoch, counted from 0 |
        """
        if self._fit_facts is not None:
            return self._fit_facts
        if self._fit is None:
            return {
                "shuffle": None,
                "class_weight": None,
                "sample_weight": False,
                "validation_split": 0.0,
                "has_validation": False,
                "initial_epoch": 0,
            }
        given = self._fit.arguments
        weights = given.get("class_weight")
        weighted = given.get("sample_weight") is not None
        if self._batches is not None and weights is None:
            weighted |= self._batches.has_weights
        return {
            "shuffle": self._fit.shuffles,
            "class_weight": None
            if weights is None
            else {str(key): float(value) for key, value in weights.items()},
            "sample_weight": weighted,
            "validation_split": float(given.get("validation_split") or 0.0),
            "has_validation": self._has_validation(),
            "initial_epoch": int(given.get("initial_epoch") or 0),
        }

    def probe(self, rows: int = 256) -> tuple[Any, Any, Any] | None:
        """Some rows in NumPy, `(x, y, sample_weight)`; `None` if unknown.

        For arrays, evenly spaced rows, always the same; for batches, the first
        rows seen. Class weights are included as sample weights.
        """
        if self._batches is not None:
            return self._batches.probe(rows)
        if self._fit is None or self._fit.arrays is None:
            return None
        return _rows_of(self._fit.arrays, rows)

    def validation_probe(self, rows: int = 256) -> tuple[Any, Any, Any] | None:
        """The same for validation data, if they are arrays."""
        held = self._validation()
        return None if held is None else _rows_of(held, rows)

    def close(self) -> None:
        """Stops reading and releases the data; the facts stay."""
        self._fit_facts = self.fit_facts()
        self._closed = True
        self._fit = None


def _rows_of(
    parts: tuple[Any, Any, Any], wanted: int
) -> tuple[Any, Any, Any] | None:
    count = row_count(parts[0])
    if not count:
        return None
    leaves = [x for x in keras.tree.flatten(parts) if x is not None]
    entries = sum(entries_per_row(leaf) for leaf in leaves)
    rows = spread_rows(count, max(min(wanted, _PROBE_ENTRIES // entries), 1))

    def taken(array: Any) -> np.ndarray | None:
        return None if array is None else take_rows(array, rows)

    x, y, weight = keras.tree.map_structure(taken, parts)
    if any(leaf is None for leaf in keras.tree.flatten(x)):
        return None
    return x, y, weight


def _nothing(problems: list[str]) -> dict[str, Any]:
    return {
        "source": "batches",
        "rows": 0,
        "of": None,
        "step": 0,
        "inputs": [],
        "targets": [],
        "validation": None,
        "missing": list(problems),
    }
