"""What the doctor records about data, labels and outputs."""

import dataclasses
from typing import Any

import keras
import numpy as np

from keras_concepts import _backend
from keras_concepts._batches import agreed
from keras_concepts._check_masks import check_masks
from keras_concepts.callbacks._careful import Careful
from keras_concepts.instruments.data.data_watch import DataWatch
from keras_concepts.instruments.row_operations import row_operations
from keras_concepts.recording import Recording
from keras_concepts.rules.out_of_range import has_numbers_out_of_range

# Share of padded steps in sequences from which on masks are looked for.
_PADDED = 0.05
# Rows of a probe, and the multiplications they may take together in a forward
# pass if the run has a time budget; the last is the least number of rows.
_ROWS, _OPERATIONS, _FEW_ROWS = 256, 2e9, 32
# Rows of a batch that are searched for masks.
_MASK_ROWS = 16


class DataFacts:
    """Looks at the data of a running `fit` until all facts are known.

    Args:
        model: The model in `fit`.
        careful: Guards what may fail.
        are_known: Whether they have been recorded, so that only a probe is
            wanted.

    Attributes:
        are_known: Whether there is nothing left to find out.
    """

    def __init__(
        self, model: Any, careful: Careful, are_known: bool = False
    ) -> None:
        self.are_known = are_known
        self._model: Any = model
        self._careful = careful
        self._watch: DataWatch | None = None
        with careful("see the data"):
            self._watch = DataWatch(model)

    def record(self, recording: Recording, step: int, epochs: int) -> None:
        """Records the facts `fit`, `heads`, `data` and `masks`.

        Args:
            recording: Where to record.
            step: Steps taken so far.
            epochs: Epochs that have ended so far.
        """
        watch = self._watch
        if watch is None or self.are_known or not self._model.built:
            return
        facts: dict[str, Any] = {}
        with self._careful("see the data"):
            # Each process sees only its share, and one share represents all.
            data = agreed(self._model, watch.facts())
            if data is None:
                return
            facts["fit"] = watch.fit_facts()
            facts["heads"] = watch.head_facts()
            facts["data"] = data
            if data["source"] == "batches":
                known = recording.facts.get("data", {})
                data["step"] = known.get("step", step)
            self.are_known = epochs > 0 or agreed(
                self._model, watch.is_complete
            )
        if not facts:
            return
        recording.record_facts(facts)
        known = facts.get("data")
        if epochs or known is None or not _is_padded(known):
            return
        if not has_numbers_out_of_range(recording):
            with self._careful("look at the masks"):
                recording.record_facts({"masks": self._mask_facts(watch)})

    def _mask_facts(self, watch: DataWatch) -> list[dict[str, Any]]:
        """Where a mask is lost, or is missing."""
        batch = watch.probe(_MASK_ROWS)
        if batch is None or not _backend.has_call(self._model):
            return []
        report = check_masks(self._model, batch[0])
        return [dataclasses.asdict(finding) for finding in report.findings]

    def probe(self, affordable: bool) -> tuple[Any, Any, Any] | None:
        """Rows of the training data, `(x, y, sample_weight)`, if known.

        Args:
            affordable: Whether to take fewer rows for a large model.
        """
        if self._watch is None or not _backend.has_call(self._model):
            return None
        rows = _affordable_rows(self._model) if affordable else _ROWS
        return self._of_all_processes(rows)

    def _of_all_processes(self, rows: int) -> tuple[Any, Any, Any] | None:
        """Rows from all processes that train the model."""
        model, watch = self._model, self._watch
        if watch is None:
            return None
        count = _backend.process_count(model)
        own = watch.probe(-(-rows // count))
        if count == 1:
            return own
        # A process that has seen no rows says so, because the others wait for
        # it.
        own = keras.tree.map_structure(
            lambda x: None if x is None else _backend.on_host(x), own
        )
        shares = _backend.gathered(model, own)
        if any(share is None for share in shares):
            return None
        if all(_are_equal(own, share) for share in shares):
            return own  # no process has a share of a batch
        return keras.tree.map_structure(
            lambda *x: None if x[0] is None else np.concatenate(x), *shares
        )

    def close(self) -> None:
        """Lets go of the data, and of the model."""
        if self._watch is not None:
            self._watch.close()
        self._watch = self._model = None


def _are_equal(one: Any, other: Any) -> bool:
    return all(
        np.array_equal(a, b)
        for a, b in zip(
            keras.tree.flatten(one), keras.tree.flatten(other), strict=True
        )
    )


def _affordable_rows(model: Any) -> int:
    """For a large model as many rows as a batch has, or few."""
    few = min(_FEW_ROWS, _backend.batch_size_of_fit(model) or _FEW_ROWS)
    affordable = int(_OPERATIONS / max(row_operations(model), 1.0))
    return max(min(_ROWS, affordable), few)


def _is_padded(data: dict[str, Any]) -> bool:
    """Whether inputs are sequences padded with zeros at either end."""
    shares = [each.get("padding") or 0.0 for each in data["inputs"]]
    return max(shares, default=0.0) > _PADDED
