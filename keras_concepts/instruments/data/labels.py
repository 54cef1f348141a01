"""The form of labels: classes, answers, probabilities or numbers."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

LabelForm: TypeAlias = Literal[
    "sparse", "one_hot", "binary", "multi_label", "probabilities", "real"
]

_MOST_CLASSES = 1_000_000
_HINGES = ("Hinge", "SquaredHinge")


def label_form(y: np.ndarray, head: Mapping[str, Any]) -> LabelForm:
    """The form of labels, given the loss and function of their output.

    Args:
        y: Labels, `(n, ...)`.
        head: Facts of the output; see `head_facts`.

    Returns:
        | form | labels |
        |---|---|
        | `sparse` | class numbers, where the loss or a softmax expects
            classes |
        | `one_hot` | there, rows of one 1 among zeros |
        | `binary` | 0 or 1, where the loss or a sigmoid expects answers; -1 and
            1 for hinge losses |
        | `multi_label` | several such columns, or rows that do not sum to 1
            where classes are expected |
        | `probabilities` | from 0 to 1, for either; for classes they sum to 1 |
        | `real` | anything else |
    """
    if y.dtype.kind not in "fiub":
        return "real"
    values = y[np.isfinite(y)] if y.dtype.kind == "f" else y
    if not values.size:
        return "real"
    kind = _wanted(y, values, head)
    if kind == "multiclass":
        return _form_of_classes(y, values, head)
    if kind == "binary":
        return _form_of_answers(y, values, head)
    return "real"


def _wanted(y: np.ndarray, values: np.ndarray, head: Mapping[str, Any]) -> str:
    if head["kind"] != "other":
        return head["kind"]
    several = (head["units"] or 1) > 1
    if several and head["activation"] in ("softmax", "log_softmax"):
        return "multiclass"
    if head["activation"] == "sigmoid" and _are_answers(values):
        return "binary"
    is_integer = y.dtype.kind in "iu"
    return "multiclass" if several and is_integer else "other"


def has_class_axis(y: np.ndarray, head: Mapping[str, Any]) -> bool:
    """Whether the last axis of labels is the class axis."""
    shape = head["shape"]
    if y.ndim == 1 or y.shape[-1] == 1:
        return False
    return shape is None or y.ndim == len(shape)


def _form_of_classes(
    y: np.ndarray, values: np.ndarray, head: Mapping[str, Any]
) -> LabelForm:
    if not has_class_axis(y, head):
        return "sparse" if _are_whole(values) else "real"
    if values.min() < 0 or values.max() > 1:
        return "real"
    sums = np.nansum(y, axis=-1, dtype="float64")
    sum_to_one = bool((np.abs(sums - 1) < 1e-3).all())
    if _are_answers(values):
        return "one_hot" if sum_to_one else "multi_label"
    return "probabilities" if sum_to_one else "real"


def _form_of_answers(
    y: np.ndarray, values: np.ndarray, head: Mapping[str, Any]
) -> LabelForm:
    low = -1 if head["loss"] in _HINGES else 0
    ignored = head.get("ignore_class")
    if ignored is not None and np.isfinite(ignored):
        values = values[values != ignored]
    if not values.size or values.min() < low or values.max() > 1:
        return "real"
    if not _are_whole(values):
        return "probabilities"
    return "multi_label" if has_class_axis(y, head) else "binary"


def _are_whole(values: np.ndarray) -> bool:
    return values.dtype.kind != "f" or bool((values == np.rint(values)).all())


def _are_answers(values: np.ndarray) -> bool:
    if values.dtype.kind == "b":
        return True
    return bool(((values == 0) | (values == 1)).all())


def counted_classes(
    y: np.ndarray, ignore_class: float | None = None
) -> np.ndarray:
    """Class numbers as integers, without those that do not count."""
    flat = y.reshape(-1)
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    flat = flat.astype("int64")
    keep = flat >= 0
    if ignore_class is not None and np.isfinite(ignore_class):
        keep &= flat != ignore_class
    return flat if keep.all() else flat[keep]


def shares_of(
    y: np.ndarray,
    form: LabelForm,
    units: int | None,
    ignore_class: float | None = None,
) -> np.ndarray | None:
    """Share of each class, or mean of each column; see `target_facts`."""
    if form == "sparse":
        classes = counted_classes(y, ignore_class)
        if not len(classes) or classes.max() >= _MOST_CLASSES:
            return None
        counts = np.bincount(classes, minlength=units or 0)
        return counts / len(classes)
    if form == "one_hot" or form == "multi_label":
        return _means(y.reshape(-1, y.shape[-1]), ignore_class)
    if form == "binary":
        return _means(y.reshape(-1, 1), ignore_class)
    return None


def _means(table: np.ndarray, ignore_class: float | None) -> np.ndarray:
    if table.dtype.kind != "f" and ignore_class is None:
        return table.mean(axis=0, dtype="float64")
    counts = np.isfinite(table)
    if ignore_class is not None:
        counts &= table != ignore_class
    sums = np.where(counts, table, 0).sum(axis=0, dtype="float64")
    return sums / np.maximum(counts.sum(axis=0), 1)


def class_of_rows(y: np.ndarray, form: LabelForm) -> np.ndarray | None:
    """The class number of each row, `(n,)`; `None` if it has no single one."""
    count = len(y)
    if form in ("sparse", "binary") and y.size == count:
        flat = y.reshape(-1)
        finite = np.isfinite(flat) if flat.dtype.kind == "f" else True
        return np.where(finite, flat, -1).astype("int64")
    if y.ndim != 2:
        return None
    if form == "one_hot":
        return y.argmax(axis=1)
    if form == "multi_label":
        bits = np.random.default_rng(0).integers(1, 1 << 40, y.shape[1])
        return (y > 0).astype("int64") @ bits
    return None
