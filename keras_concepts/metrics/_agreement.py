"""The base of metrics that compare one true class with one predicted class."""

from typing import Any, ClassVar, Unpack

from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import UNKNOWN, Indices
from keras_concepts._labels.predictions import above, largest
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._validation import check_probability, plain
from keras_concepts.metrics._class_metric import CountingMetric, ReadingOptions
from keras_concepts.metrics._counting import count_hits


class Agreement(CountingMetric):
    """Base of metrics of one true and one predicted class per row.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result.
        threshold: For a single column, the probability above which class 1 is
            predicted. By default 0.5.
        options: Keyword arguments of `ClassMetric`.
    """

    _one_class: ClassVar[bool] = True

    def __init__(
        self,
        name: str | None,
        dtype: Any,
        *,
        threshold: float | None = None,
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(name, dtype, **options)
        _backend.say_direction(self, "up")
        if threshold is not None:
            owner = type(self).__name__
            threshold = plain(threshold)
            if isinstance(threshold, list | tuple):
                raise TypeError(
                    f"`threshold` of `{owner}` must be one number. "
                    f"Received: threshold={threshold!r}."
                )
            check_probability(owner, "threshold", threshold)
        self.threshold = threshold
        if self.num_classes is not None:
            self._build(self.num_classes)

    def _compares_probabilities(self, num_classes: int) -> bool:
        return num_classes == 1 and not self.from_logits

    def _build(self, num_classes: int) -> None:
        self._counts = ExactSum(self, "counts", (3, num_classes))

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        rows = self._read(y_true, y_pred, sample_weight, self._mask(y_pred))
        columns = rows.scores.shape[1]
        self._prepare(columns, max(columns, 2))
        self._count(rows)

    def _count(self, rows: Rows) -> None:
        labels, predictions = self._classes(rows)
        predictions = predictions.without(labels.numbers < 0)
        self._add(rows, labels, predictions)

    def _add(self, rows: Rows, labels: Indices, predictions: Indices) -> None:
        count_hits(self._counts, rows, labels, predictions)

    def _classes(self, rows: Rows) -> tuple[Indices, Indices]:
        """The true and the predicted class of each row."""
        num_classes = rows.scores.shape[1]
        labels = rows.labels
        if num_classes == 1:
            limit = 0.5 if self.threshold is None else self.threshold
            chosen = above(rows.scores, limit, from_logits=self.from_logits)
            dtype = _backend.CLASS_NUMBERS
            positive = ops.cast(labels.dense() > 0.5, dtype)
            predicted = ops.cast(chosen.amounts, dtype)
            unknown = UNKNOWN * ops.cast(chosen.unknown, dtype)
            return Indices(positive, 2), Indices(predicted + unknown, 2)
        if self.threshold is not None:
            raise ValueError(
                f"`threshold` of `{type(self).__name__}` is for a single "
                "column. With several classes, the one with the largest score "
                f"is predicted. Received: threshold={self.threshold!r} and "
                f"{num_classes} classes."
            )
        if not isinstance(labels, Indices):
            labels = Indices(largest(labels.amounts), num_classes)
        return labels, Indices(largest(rows.scores), num_classes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold}
