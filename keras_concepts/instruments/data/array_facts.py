"""Facts of data that `fit` holds as arrays."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts.instruments.compiled_losses import part_for
from keras_concepts.instruments.data.copied_labels import copied_input
from keras_concepts.instruments.data.input_statistics import InputStatistics
from keras_concepts.instruments.data.row_hashes import (
    hashes_of_rows,
    share_repeated,
)
from keras_concepts.instruments.data.rows import (
    as_numpy,
    entries_per_row,
    named_leaves,
    row_count,
    spread_rows,
    take_rows,
)
from keras_concepts.instruments.data.target_statistics import (
    order_facts,
    target_facts,
)
from keras_concepts.instruments.heads import Head

_MOST_ROWS = 16_384
_MOST_ENTRIES = 2_000_000
_HASHED_ROWS = 20_000
_HASHED_ENTRIES = 8_000_000
_CHECKED_BLOCK = 1 << 22


def array_facts(
    x: Any,
    y: Any,
    sample_weight: Any,
    heads: Sequence[Head],
    *,
    batch_size: int | None = None,
    shuffled: bool = True,
    validation: tuple[Any, Any, Any] | None = None,
) -> dict[str, Any]:
    """Facts of inputs and labels, JSON-compatible.

    Inputs are described from up to 16,384 evenly spaced rows and 2,000,000
    entries; non-finite values are searched in all rows. Labels are read whole
    up to 4,000,000 entries.

    Args:
        x: Inputs, arrays in any structure.
        y: Labels, likewise, or `None`.
        sample_weight: As Keras passes it to the loss, or `None`.
        heads: Outputs of the model.
        batch_size: Rows of a batch, if known.
        shuffled: Whether rows are shuffled before they are put into batches.
        validation: `(x, y, sample_weight)` to compare with them.

    Returns:
        | key | value |
        |---|---|
        | `source` | `"arrays"` |
        | `rows`, `of` | rows examined, and all rows |
        | `step` | 0 |
        | `inputs` | see `InputStatistics.facts` |
        | `targets` | see `target_facts`, `order_facts` and `copied_input` |
        | `validation` | `None`, or `rows`, `overlap` (share of its rows whose
            inputs are rows of `x` too), `repeated` (share of the rows of `x`
            that occur more than once) and `targets` |
        | `missing` | sentences on what could not be examined |
    """
    missing: list[str] = []
    count = row_count(x)
    inputs, rows = [], 0
    for name, leaf in named_leaves(x, "input"):
        facts = _input_facts(name, leaf, missing)
        if facts is not None:
            inputs.append(facts[0])
            rows = max(rows, facts[1])
    targets = _targets(
        x, y, sample_weight, heads, missing, batch_size, shuffled
    )
    validated = None
    if validation is not None:
        validated = _validation_facts(x, validation, heads, missing)
    return {
        "source": "arrays",
        "rows": rows,
        "of": count,
        "step": 0,
        "inputs": inputs,
        "targets": targets,
        "validation": validated,
        "missing": missing,
    }


def _input_facts(
    name: str, array: Any, missing: list[str]
) -> tuple[dict[str, Any], int] | None:
    count = row_count(array)
    if not count:
        missing.append(f"The input {name!r} has no readable rows.")
        return None
    most = max(_MOST_ENTRIES // entries_per_row(array), 64)
    part = take_rows(array, spread_rows(count, min(_MOST_ROWS, most)))
    if part is None:
        missing.append(
            f"The input {name!r} is a {type(array).__name__}, whose entries "
            "were not checked."
        )
        return None
    statistics = InputStatistics(name)
    statistics.update(part)
    facts = statistics.facts()
    if len(part) < count and isinstance(array, np.ndarray):
        facts["non_finite"] = count_non_finite(array)
    if facts["dtype"] == "string":
        missing.append(f"The input {name!r} holds text: no statistics.")
    return facts, len(part)


def count_non_finite(array: np.ndarray) -> int:
    """Entries that are not finite; sums show quickly if there are none."""
    if array.dtype.kind != "f":
        return 0
    total = 0
    step = max(_CHECKED_BLOCK // entries_per_row(array), 1)
    for start in range(0, len(array), step):
        block = array[start : start + step]
        with np.errstate(all="ignore"):
            if not np.isfinite(block.sum()):
                total += int((~np.isfinite(block)).sum())
    return total


def _targets(
    x: Any,
    y: Any,
    sample_weight: Any,
    heads: Sequence[Head],
    missing: list[str],
    batch_size: int | None,
    shuffled: bool,
) -> list[dict[str, Any]]:
    if y is None or not keras.tree.flatten(y):
        missing.append("There are no labels.")
        return []
    found = []
    for head, labels, weight in parts_by_head(y, sample_weight, heads):
        read = as_numpy(labels)
        if read is None or not read.ndim:
            missing.append(
                f"The labels {head.facts['output']!r} could not be read."
            )
            continue
        facts = target_facts(read, head, as_numpy(weight), batch_size, x=x)
        order = order_facts(read, facts["form"], batch_size, shuffled)
        ignored = [None if head.loss is None else head.loss.ignore_class]
        copied = copied_input(x, labels, ignored)
        found.append({**facts, **order, "copied_input": copied})
    return found


def parts_by_head(
    y: Any, sample_weight: Any, heads: Sequence[Head]
) -> list[tuple[Head, Any, Any]]:
    """Each output with its labels and their weights.

    If no output has a loss, the labels in their own order.
    """
    known = [head for head in heads if head.loss is not None]
    if known:
        return [
            (
                head,
                part_for(head.loss, y, len(known)),
                None
                if sample_weight is None
                else part_for(head.loss, sample_weight, len(known)),
            )
            for head in known
            if head.loss is not None
        ]
    labels = keras.tree.flatten(y)
    if len(labels) == len(heads):
        return [
            (head, each, None) for head, each in zip(heads, labels, strict=True)
        ]
    facts = {**heads[0].facts, "shape": None, "units": None, "output": ""}
    return [(Head(facts, None), each, None) for each in labels]


def _validation_facts(
    x: Any,
    validation: tuple[Any, Any, Any],
    heads: Sequence[Head],
    missing: list[str],
) -> dict[str, Any] | None:
    held, y, sample_weight = validation
    rows = row_count(held)
    if not rows:
        missing.append("The validation data are not arrays.")
        return None
    overlap, repeated = overlap_of_rows(x, held)
    if overlap is None:
        missing.append(
            "Validation rows could not be compared with training rows."
        )
    targets = []
    for head, labels, weight in (
        parts_by_head(y, sample_weight, heads) if y is not None else ()
    ):
        read = as_numpy(labels)
        if read is not None and read.ndim:
            facts = target_facts(read, head, as_numpy(weight), x=held)
            keys = ("output", "shares", "mean", "std", "constant_loss")
            targets.append({key: facts[key] for key in keys})
    return {
        "rows": rows,
        "overlap": overlap,
        "repeated": repeated,
        "targets": targets,
    }


def overlap_of_rows(x: Any, other: Any) -> tuple[float | None, float | None]:
    """Share of the rows of `other` that occur in `x`, and of repeated rows.

    Up to 20,000 evenly spaced rows and 8,000,000 entries of each are compared.
    If these are not all rows of `x`, the share of matches is divided by the
    share of the rows of `x` that were read.

    Args:
        x: Inputs.
        other: Inputs of the same structure.

    Returns:
        Both shares; `None` where rows cannot be read.
    """
    first, looked_at = _hashes(x)
    second, _ = _hashes(other, like=x)
    if first is None:
        return None, None
    repeated = share_repeated(first)
    if second is None or not len(second):
        return None, repeated
    share = float(np.isin(second, first).mean())
    return min(share / looked_at, 1.0), repeated


def _hashes(x: Any, like: Any = None) -> tuple[np.ndarray | None, float]:
    """Hashes of rows, and the share of all rows that they cover."""
    leaves = [leaf for _, leaf in named_leaves(x, "input")]
    models = leaves
    if like is not None:
        models = [leaf for _, leaf in named_leaves(like, "input")]
    count = row_count(x)
    if not count or len(models) != len(leaves):
        return None, 0.0
    entries = sum(entries_per_row(leaf) for leaf in leaves)
    most = max(min(_HASHED_ENTRIES // entries, _HASHED_ROWS), 256)
    rows = spread_rows(count, most)
    parts = []
    for leaf, model in zip(leaves, models, strict=True):
        part = take_rows(leaf, rows)
        if part is None:
            return None, 0.0
        # As `fit` casts both: equal numbers of two dtypes are equal rows.
        if part.dtype.kind == "f":
            part = part.astype("float32")
        if model.shape[1:] != leaf.shape[1:]:
            return None, 0.0
        parts.append(part)
    return hashes_of_rows(parts), len(rows) / count
