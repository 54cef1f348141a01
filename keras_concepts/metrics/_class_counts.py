"""Three counts per class, for F-beta, precision, recall and the report."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, Unpack

from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import Classes, Columns, overlap
from keras_concepts._labels.predictions import choose_classes
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    check_choice,
    checked_int,
    checked_number,
    plain,
)
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_metric import CountingMetric, ReadingOptions
from keras_concepts.metrics._counting import add_mean, count_hits, count_unknown

Average: TypeAlias = Literal["micro", "macro", "weighted", "samples"] | None
AVERAGES = (None, "micro", "macro", "weighted", "samples")


class CountOptions(ReadingOptions, total=False):
    """Keyword arguments of `ClassCounts` that subclasses do not rename."""

    class_ids: Sequence[int] | None
    zero_division: float
    absent: Literal["zero", "skip"]


class ClassCounts(CountingMetric):
    """Base of metrics that follow from three counts per class.

    Args:
        name: Name of the metric.
        dtype: Dtype of the result.
        average: How classes are averaged, see `FBetaScore`.
        threshold: Probability above which a class is predicted, or one for each
            class. By default the class with the largest score.
        top_k: How many of the largest scores are predicted.
        class_ids: The classes that take part in the result.
        zero_division: Score of a class whose score is 0 / 0.
        absent: Whether classes with neither labels nor predictions count in a
            macro average: `"zero"`, with `zero_division`, or `"skip"`.
        options: Keyword arguments of `ClassMetric`.
    """

    def __init__(
        self,
        name: str | None,
        dtype: Any,
        *,
        average: Any = None,
        threshold: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_ids: Sequence[int] | None = None,
        zero_division: float = 0.0,
        absent: Literal["zero", "skip"] = "zero",
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(name, dtype, **options)
        _backend.say_direction(self, "up")
        owner = type(self).__name__
        check_choice(owner, "absent", absent, ("zero", "skip"))
        if top_k is not None:
            top_k = checked_int(owner, "top_k", top_k, low=1)
        self.average = average
        self.threshold = plain(threshold)
        self.top_k = top_k
        self.class_ids = checked_class_ids(owner, class_ids)
        self.zero_division = checked_number(
            owner, "zero_division", zero_division, finite=False
        )
        self.absent = absent
        self._counts_by_class = average not in ("samples", "binary")
        if self.num_classes is not None:
            self._build(self.num_classes)

    def _compares_probabilities(self, num_classes: int) -> bool:
        chosen = self.threshold is not None or num_classes == 1
        return chosen and not self.from_logits

    def _build(self, num_classes: int) -> None:
        for number in self.class_ids or ():
            if not 0 <= number < num_classes:
                raise ValueError(
                    f"`class_ids` of `{type(self).__name__}` must be among the "
                    f"{num_classes} classes. Received: "
                    f"class_ids={tuple(self.class_ids or ())}."
                )
        if isinstance(self.threshold, Sequence) and num_classes != len(
            self.threshold
        ):
            raise ValueError(
                f"`threshold` of `{type(self).__name__}` must be one number or "
                f"one for each of the {num_classes} classes. Received: "
                f"threshold={tuple(self.threshold)}."
            )
        if self.average == "samples":
            self._counts = ExactSum(self, "score_and_weight", (2,))
        else:
            self._counts = ExactSum(self, "counts", (3, num_classes))

    def _check_top_k(self, num_classes: int) -> None:
        if self.top_k is not None and self.top_k > num_classes:
            raise ValueError(
                f"`top_k` of `{type(self).__name__}` must be at most "
                f"{num_classes}, the number of classes. "
                f"Received: top_k={self.top_k}."
            )

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        rows = self._read(y_true, y_pred, sample_weight, self._mask(y_pred))
        found = rows.scores.shape[1]
        self._check_top_k(found)
        self._prepare(found, found)
        self._count(rows)

    def _count(self, rows: Rows) -> None:
        predictions = choose_classes(
            rows.scores,
            threshold=self.threshold,
            top_k=self.top_k,
            from_logits=self.from_logits,
        )
        predictions = rows.only_answered(predictions)
        if self.average == "samples":
            self._add_samples(rows, predictions)
        else:
            count_hits(self._counts, rows, rows.labels, predictions)

    def _add_samples(self, rows: Rows, predictions: Classes) -> None:
        num_classes = predictions.num_classes
        ids = range(num_classes) if self.class_ids is None else self.class_ids
        chosen = ops.convert_to_tensor(
            [float(number in ids) for number in range(num_classes)]
        )
        counts = [
            ops.cast(classes.row_sums(chosen), "float32")
            for classes in (
                overlap(rows.labels, predictions),
                predictions,
                rows.labels,
            )
        ]
        scores = self._score(*counts)
        undefined = ops.isnan(scores)
        if rows.answered is not None:
            answers = Columns(rows.answered).row_sums(chosen)
            undefined = ops.logical_or(undefined, answers == 0)
        weights = ops.where(undefined, 0, rows.float_weights())
        add_mean(self._counts, scores, weights)
        count_unknown(self._counts, rows, predictions.unknown_rows())

    def _score(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        """The score of each class or sample."""
        raise NotImplementedError

    def result(self) -> Any:
        if self.average == "samples":
            total, weight = ops.unstack(
                total_of(self._words(), self._computing)
            )
            score = _scores.ratio(total, weight, self.zero_division)
        else:
            score = self._average(self._score(*self._totals()), self.average)
        return self._cast(score)

    def _totals(self) -> list[Tensor]:
        """Hits, predicted and true: per class, or pooled for `"micro"`."""
        words = self._chosen_words()
        if self.average == "micro":
            words = ops.sum(words, axis=2)
        return ops.unstack(total_of(words, self._computing))[::-1]

    def _chosen_words(self) -> Tensor:
        words = self._words()
        if self.class_ids is None:
            return words
        return ops.take(words, list(self.class_ids), axis=2)

    def _average(self, scores: Tensor, average: Average) -> Tensor:
        if average not in ("macro", "weighted"):
            return scores
        _, predicted, true = self._totals()
        if average == "weighted":
            weights = true
        elif self.absent == "skip":
            weights = ops.cast(predicted + true != 0, scores.dtype)
        else:
            weights = ops.ones_like(scores)
        # A mean leaves out 0 / 0, but not the NaN of unknown counts.
        undefined = ops.logical_and(
            ops.isnan(scores), ops.isfinite(predicted + true)
        )
        return _scores.mean(scores, weights, undefined, self.zero_division)

    @property
    def true_positives(self) -> Tensor:
        """True positives, per class or pooled."""
        return self._totals()[0]

    @property
    def false_positives(self) -> Tensor:
        """False positives, per class or pooled."""
        return self._difference(1)

    @property
    def false_negatives(self) -> Tensor:
        """False negatives, per class or pooled."""
        return self._difference(0)

    def _difference(self, which: int) -> Tensor:
        words = self._chosen_words()
        if self.average == "micro":
            words = ops.sum(words, axis=2)
        return total_of(words[:, which] - words[:, 2], self._computing)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "average": self.average,
            "threshold": self.threshold,
            "top_k": self.top_k,
            "class_ids": self.class_ids,
            "zero_division": self.zero_division,
            "absent": self.absent,
        }


def checked_class_ids(owner: str, class_ids: Any) -> list[int] | None:
    """Class numbers as a list of different Python integers.

    Raises:
        TypeError: If they are not a sequence of integers.
        ValueError: If there are none, or one occurs twice.
    """
    if class_ids is None:
        return None
    ids = plain(class_ids)
    if not isinstance(ids, list | tuple | range) or not all(
        isinstance(number, int) and not isinstance(number, bool)
        for number in ids
    ):
        raise TypeError(
            f"`class_ids` of `{owner}` must be a list of class numbers. "
            f"Received: class_ids={class_ids!r}."
        )
    if not ids or len(set(ids)) < len(ids):
        raise ValueError(
            f"`class_ids` of `{owner}` must hold at least one class, and each "
            f"only once. Received: class_ids={class_ids!r}."
        )
    return list(ids)
