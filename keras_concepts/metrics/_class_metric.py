"""The base of all class metrics: how a batch is read."""

import warnings
from typing import Any, ClassVar, Literal, TypedDict

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.ignored import checked_ignored
from keras_concepts._labels.ranges import both, not_probabilities
from keras_concepts._labels.rows import Rows, read_rows
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    check_choice,
    checked_bool,
    checked_int,
    checked_size,
)

_IMPOSSIBLE_LABELS = (
    "The result of `{owner}` is NaN because some labels are impossible: class "
    "numbers outside of the classes, or labels per class that do not lie "
    "between 0 and 1 or, where each row has one class, do not sum to 1 (or "
    "some sample weights are neither 0 nor at least 1e-30). To leave out rows "
    "without a label, label them with an unused number, such as -1, and pass "
    "it as `ignore_class`."
)
_NO_PROBABILITIES = (
    "`{owner}` was given predictions below 0 or above 1. If they are logits, "
    "pass `from_logits=True`."
)


class ReadingOptions(TypedDict, total=False):
    """Keyword arguments of `ClassMetric`."""

    num_classes: int | None
    labels: Literal["auto", "sparse", "dense"]
    from_logits: bool
    ignore_class: float | None
    axis: int
    use_mask: bool


class ClassMetric(keras.Metric):
    """Base of metrics that compare labels with predictions of classes.

    An impossible label raises an error where values can be read. A compiled
    step cannot raise: there the result becomes NaN, and `result` warns as soon
    as it can be read.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result. Counts are exact whatever it is.
        num_classes: Number of classes. By default taken from the first batch.
        labels: What `y_true` holds: `"sparse"`, class numbers; `"dense"`, a
            label for each class (one-hot, multi-hot or soft); or `"auto"`,
            inferred from its shape.
        from_logits: Whether `y_pred` holds logits, not probabilities.
        ignore_class: Rows with this label are left out. With multi-hot labels,
            if it is not one of the classes, only the entries with this label.
        axis: Axis of the classes in `y_pred`.
        use_mask: Whether to leave out entries that a Keras mask on `y_pred`
            hides. In `fit` on JAX, Keras passes no mask to metrics: use
            `ignore_class` or sample weights there.
    """

    # Whether each row has one class, so that dense labels sum to 1.
    _one_class: ClassVar[bool] = False
    # Whether the result is meaningless if scores are not probabilities.
    _needs_probabilities: ClassVar[bool] = False
    # Number of columns of the predictions so far.
    _columns: int | None = None
    # Whether the state has an entry for each class, which no reset can change.
    _counts_by_class = False

    def __init__(
        self,
        name: str | None,
        dtype: Any,
        *,
        num_classes: int | None = None,
        labels: Literal["auto", "sparse", "dense"] = "auto",
        from_logits: bool = False,
        ignore_class: float | None = None,
        axis: int = -1,
        use_mask: bool = True,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        owner = type(self).__name__
        check_choice(owner, "labels", labels, ("auto", "sparse", "dense"))
        if num_classes is not None:
            num_classes = checked_size(owner, "num_classes", num_classes)
        self.num_classes = num_classes
        self.labels: Literal["auto", "sparse", "dense"] = labels
        self.from_logits = checked_bool(owner, "from_logits", from_logits)
        self.ignore_class = checked_ignored(owner, ignore_class)
        self.axis = checked_int(owner, "axis", axis)
        self.use_mask = checked_bool(owner, "use_mask", use_mask)
        # Number of updates with impossible labels, and with impossible scores.
        self._alarms = self.add_variable(
            (2,), "zeros", dtype="float32", name="alarms"
        )
        self._warned: set[str] = set()
        self._results = 0

    def _mask(self, y_pred: Any) -> Tensor | None:
        """The mask that Keras' layers left on a tensor."""
        return _backend.keras_mask(y_pred) if self.use_mask else None

    def _read(
        self,
        y_true: Any,
        y_pred: Any,
        sample_weight: Any,
        mask: Tensor | None,
        *,
        axis: int | None = None,
    ) -> Rows:
        rows = read_rows(
            type(self).__name__,
            y_true,
            y_pred,
            sample_weight,
            mask,
            labels=self.labels,
            axis=self.axis if axis is None else axis,
            ignore_class=self.ignore_class,
            one_class=self._one_class,
        )
        scores = None
        if self._compares_probabilities(rows.scores.shape[1]):
            scores = not_probabilities(rows.scores, rows.weights)
        self._note(rows.impossible, scores)
        if self._needs_probabilities and scores is not None:
            impossible = both(rows.impossible, ops.convert_to_tensor(scores))
            rows = rows._replace(impossible=impossible)
        return rows

    def _compares_probabilities(self, num_classes: int) -> bool:
        """Whether scores that are not probabilities are a mistake."""
        del num_classes
        return self._needs_probabilities and not self.from_logits

    def _note(self, labels: Tensor | None, scores: Any) -> None:
        """Remembers whether labels or scores are impossible."""
        if (labels is None and scores is None) or _backend.in_symbolic_scope():
            return
        if isinstance(scores, np.ndarray):
            self._warn(_NO_PROBABILITIES)
        found = [False if each is None else each for each in (labels, scores)]
        found = [ops.cast(ops.any(places), "float32") for places in found]
        self._alarms.assign(
            ops.convert_to_tensor(self._alarms.value) + ops.stack(found)
        )

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            owner = type(self).__name__
            warnings.warn(message.format(owner=owner), stacklevel=5)

    def _read_alarms(self) -> None:
        """Warns of faults in compiled steps, where they can be read."""
        if _backend.in_symbolic_scope():
            return
        self._results += 1
        # Reading waits for an accelerator, so read less and less often.
        rarely = self._results & (self._results - 1) == 0
        alarms = ops.convert_to_tensor(self._alarms.value)
        known = _backend.known_value(alarms, wait=rarely)
        if known is not None and known[0] > 0:
            self._warn(_IMPOSSIBLE_LABELS)
        if known is not None and known[1] > 0:
            self._warn(_NO_PROBABILITIES)

    def _check_classes(self, columns: int, num_classes: int) -> None:
        """Raises unless predictions have the same classes as before.

        Args:
            columns: How many numbers the predictions hold per row.
            num_classes: How many classes they choose from.
        """
        owner = type(self).__name__
        if self.num_classes not in (None, num_classes):
            raise ValueError(
                f"`num_classes` of `{owner}` does not fit the "
                f"predictions. Received: num_classes={self.num_classes} and "
                f"predictions of {_classes(columns)}."
            )
        if self._columns not in (None, columns):
            raise ValueError(
                f"Predictions of `{owner}` must have the same classes in every "
                "batch. Use one metric object for each model and each output. "
                f"Received: predictions of {_classes(columns)}, and previously "
                f"of {_classes(self._columns)}."
            )
        if self._columns is None:
            self._columns = columns

    def reset_state(self) -> None:
        super().reset_state()
        if not self._counts_by_class:
            self._columns = None

    @property
    def _name_in_logs(self) -> str:
        """The name that the keys of a result begin with.

        Keras renames metrics that share a name, but not the keys of dicts: if
        another metric of the model has this name, the keys are renamed here.
        """
        return _backend.name_in_logs(self) or self.name

    @property
    def _computing(self) -> str:
        """Dtype in which results are computed."""
        return "float64" if self.dtype == "float64" else "float32"

    def _cast(self, result: Tensor) -> Tensor:
        self._read_alarms()
        return ops.cast(result, self.dtype)

    def _cast_each(self, results: dict[str, Tensor]) -> dict[str, Tensor]:
        self._read_alarms()
        return {
            key: ops.cast(value, self.dtype) for key, value in results.items()
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "labels": self.labels,
            "from_logits": self.from_logits,
            "ignore_class": self.ignore_class,
            "axis": self.axis,
            "use_mask": self.use_mask,
        }


class CountingMetric(ClassMetric):
    """Base of metrics whose counts are created once the classes are known."""

    _counts: Any = None
    _counts_by_class = True

    def _build(self, num_classes: int) -> None:
        """Creates `_counts`, an `ExactSum`."""
        raise NotImplementedError

    def _prepare(self, columns: int, num_classes: int) -> None:
        """Creates the counts, unless an earlier batch did."""
        if self._counts is None:
            self._build(num_classes)
        self._check_classes(columns, num_classes)

    def _words(self) -> Tensor:
        """Words of the counts, see `ExactSum.words`."""
        if self._counts is None:
            raise ValueError(
                f"`{type(self).__name__}` has no counts before the first "
                "batch. Call `update_state` first, or pass `num_classes`."
            )
        return self._counts.words

    def _cast(self, result: Tensor) -> Tensor:
        # An intermediate comparison or maximum may have lost the NaN of a
        # count.
        unknown = ops.isnan(ops.sum(self._words()))
        return super()._cast(ops.where(unknown, float("nan"), result))


def _classes(columns: int) -> str:
    return "a single column" if columns == 1 else f"{columns} classes"
