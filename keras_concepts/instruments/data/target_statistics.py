"""Statistics of labels, and their order."""

from typing import Any

import numpy as np

from keras_concepts.instruments.compiled_losses import OutputLoss
from keras_concepts.instruments.data.constant_loss import constant_losses
from keras_concepts.instruments.data.counted_labels import (
    counted_labels,
    rows_of,
)
from keras_concepts.instruments.data.label_order import (
    classes_per_batch,
    count_runs,
    sortedness,
)
from keras_concepts.instruments.data.labels import (
    LabelForm,
    class_of_rows,
    label_form,
    shares_of,
)
from keras_concepts.instruments.data.perfect_loss import perfect_loss
from keras_concepts.instruments.data.prediction_losses import reduction
from keras_concepts.instruments.data.reachable_loss import reachable_loss
from keras_concepts.instruments.data.right_loss import right_and_wrong_loss
from keras_concepts.instruments.data.rows import (
    entries_per_row,
    spread_rows,
)
from keras_concepts.instruments.heads import Head

_MOST_ENTRIES = 4_000_000
_MOST_SHARES = 1000
_MOST_DISTINCT = 10_000
_ENTRIES_FOR_DISTINCT = 100_000

# Rows of a batch if not known, as in Keras.
_BATCH = 32

NO_ORDER: dict[str, float | None] = {
    "sorted": None,
    "runs": None,
    "classes_per_batch": None,
}


def target_facts(
    y: np.ndarray,
    head: Head,
    sample_weight: np.ndarray | None = None,
    batch_size: int | None = None,
    of: float | None = None,
    x: Any = None,
) -> dict[str, Any]:
    """What is known about the labels of one output, JSON-compatible.

    Args:
        y: Labels, `(n, ...)`.
        head: Their output.
        sample_weight: As Keras passes it to the loss.
        batch_size: Rows of a batch, if known.
        of: Number of all rows, infinite if not known. Default: those of `y`.
        x: Inputs of the same rows. Without them, nothing is known about the
            loss of an output that has a mask.

    Returns:
        | key | value |
        |---|---|
        | `output` | name of the output |
        | `shape`, `dtype` | of a row |
        | `form` | see `label_form` |
        | `mean`, `std`, `min`, `max` | of all finite entries |
        | `non_finite` | entries that are not |
        | `distinct` | classes that occur, or different numbers, up to 10,000 |
        | `one_per_row` | whether all but one entry of each row are 0 |
        | `shares` | of each class; for answers, the mean of each column; up to
            1,000 |
        | `largest_share` | share of the most frequent class or answer |
        | `constant_loss`, `uniform_loss`, `constant_loss_error`,
            `constant_loss_spread` | see `ConstantLosses` |
        | `perfect_loss` | see `perfect_loss` |
        | `negative_weights` | whether a sample weight is below 0 |
        | `reachable_loss` | see `reachable_loss` |
        | `masked` | whether only the entries that the output's mask leaves were
            counted, in all but the moments |
        | `right_loss`, `wrong_loss` | see `right_and_wrong_loss` |
    """
    of = len(y) if of is None else of
    rows = spread_rows(
        len(y), max(_MOST_ENTRIES // entries_per_row(y), 64), seed=1
    )
    if len(rows) < len(y):
        y = y[rows]
        sample_weight = None if sample_weight is None else sample_weight[rows]
        x = None if head.mask is None else rows_of(x, rows)
    facts: dict[str, Any] = {
        "output": head.facts["output"],
        "shape": list(y.shape[1:]),
        "dtype": str(y.dtype) if y.dtype.kind in "fiub" else "string",
        "form": "real",
        **dict.fromkeys(("mean", "std", "min", "max")),
        "non_finite": 0,
        "distinct": None,
        "one_per_row": False,
        "shares": None,
        "largest_share": None,
        **NO_ORDER,
        "constant_loss": None,
        "constant_loss_error": 0.0,
        "constant_loss_spread": None,
        "uniform_loss": None,
        "perfect_loss": 0.0,
        "reachable_loss": None,
        "negative_weights": bool(
            sample_weight is not None and (np.asarray(sample_weight) < 0).any()
        ),
        "masked": False,
        "right_loss": None,
        "wrong_loss": None,
    }
    if y.dtype.kind not in "fiub" or not y.size:
        return facts
    facts |= _moments(y)
    if y.ndim > 1 and y.shape[-1] > 1:
        facts["one_per_row"] = bool(((y != 0).sum(axis=-1) <= 1).all())
    counted, known = y, head.facts
    if head.mask is not None:
        part = counted_labels(y, sample_weight, head, x)
        if part is not None:
            counted, sample_weight, known = part
            of *= len(counted) / len(y)
            facts["masked"] = True
    ignored = {"ignore_class": _ignored(head)}
    form = label_form(counted, {**known, **ignored})
    facts |= {"form": form, **_classes(counted, form, head)}
    if head.loss is not None:
        facts["right_loss"], facts["wrong_loss"] = right_and_wrong_loss(
            head.loss, head.facts, y, form
        )
    if head.loss is not None and (
        head.mask is None or (facts["masked"] and _is_a_mean(head.loss))
    ):
        constant = constant_losses(
            head.loss, known, counted, form, sample_weight, batch_size, of
        )
        facts["constant_loss"] = constant.best
        facts["constant_loss_error"] = constant.error
        facts["constant_loss_spread"] = constant.spread
        facts["uniform_loss"] = constant.uniform
        arguments = known, counted, form, sample_weight, batch_size
        facts["perfect_loss"] = perfect_loss(head.loss, *arguments)
        facts["reachable_loss"] = reachable_loss(head.loss, *arguments)
    return facts


def order_facts(
    y: np.ndarray, form: LabelForm, batch_size: int | None, shuffled: bool
) -> dict[str, float | None]:
    """How sorted labels are, and how many classes a batch holds.

    Args:
        y: Labels, `(n, ...)`, in the order in which they are stored.
        form: Form of the labels.
        batch_size: Rows of a batch, if known.
        shuffled: Whether rows are shuffled before they are put into batches.
    """
    classes = None if form == "real" else class_of_rows(y, form)
    if classes is None:
        return NO_ORDER
    per_batch = 1.0 if shuffled else None
    if not shuffled and batch_size:
        per_batch = classes_per_batch(classes, batch_size)
    return {
        "sorted": sortedness(classes),
        "runs": count_runs(classes, batch_size or _BATCH),
        "classes_per_batch": per_batch,
    }


def _is_a_mean(loss: OutputLoss) -> bool:
    """Whether a loss is the mean of that of the entries, whatever these are."""
    is_sum = reduction(loss) == "sum"
    return loss.kind != "other" and not is_sum


def _ignored(head: Head) -> float | None:
    return None if head.loss is None else head.loss.ignore_class


def _moments(y: np.ndarray) -> dict[str, Any]:
    values, bad = y, 0
    if y.dtype.kind == "f":
        finite = np.isfinite(y)
        bad = int(y.size - finite.sum())
        values = y[finite] if bad else y
    if not values.size:
        return {"non_finite": bad}
    mean = values.mean(dtype="float64")
    # In two passes: labels may be far from 0 and close together.
    offsets = values.astype("float64").reshape(-1) - mean
    return {
        "mean": float(mean),
        "std": float(np.sqrt(np.dot(offsets, offsets) / offsets.size)),
        "min": float(values.min()),
        "max": float(values.max()),
        "non_finite": bad,
    }


def _classes(y: np.ndarray, form: LabelForm, head: Head) -> dict[str, Any]:
    units = head.facts["units"]
    shares = shares_of(y, form, units, _ignored(head))
    if shares is None:
        return {"distinct": _distinct(y)}
    largest = float(shares.max())
    if form == "binary":
        largest = max(largest, 1 - float(shares.min()))
    occur = form in ("sparse", "one_hot")
    return {
        "distinct": int((shares > 0).sum()) if occur else _distinct(y),
        "shares": [float(share) for share in shares[:_MOST_SHARES]],
        "largest_share": None if form == "multi_label" else largest,
    }


def _distinct(y: np.ndarray) -> int:
    flat = y.reshape(-1)
    flat = flat[spread_rows(len(flat), _ENTRIES_FOR_DISTINCT)]
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    return int(min(len(np.unique(flat)), _MOST_DISTINCT))
