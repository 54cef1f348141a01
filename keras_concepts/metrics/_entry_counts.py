"""Counting as in Keras, and averages: the base of Precision and Recall."""

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, Unpack

from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import Columns
from keras_concepts._labels.predictions import above
from keras_concepts._labels.ranges import as_labels
from keras_concepts._labels.rows import Rows
from keras_concepts._labels.shapes import (
    check_axes,
    check_axis,
    classes_last,
    fits,
    reshaped,
    shape_of,
)
from keras_concepts._labels.tensors import as_scores
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice, checked_int, plain
from keras_concepts.metrics._class_counts import (
    AVERAGES,
    ClassCounts,
    CountOptions,
)
from keras_concepts.metrics._counting import count_hits

EntryAverage: TypeAlias = (
    Literal["binary", "micro", "macro", "weighted", "samples"] | None
)


class EntryCounts(ClassCounts):
    """Base of metrics that count classes or, like Keras, single entries.

    Args:
        thresholds: Probabilities above which an entry, or a class, is
            predicted.
        top_k: How many of the largest scores are predicted.
        class_id: The only class that counts.
        name: Name of the metric.
        dtype: Dtype of the result.
        average: `"binary"`: each entry of `y_pred` is one decision. Other
            values as in `FBetaScore`.
        options: Keyword arguments of `FBetaScore`.
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
        *,
        average: EntryAverage = "binary",
        **options: Unpack[CountOptions],
    ) -> None:
        owner = type(self).__name__
        check_choice(owner, "average", average, ("binary", *AVERAGES))
        thresholds = plain(thresholds)
        several = isinstance(thresholds, list | tuple)
        values = list(thresholds) if several else [thresholds]
        if thresholds is not None and not all(
            isinstance(t, int | float)
            and not isinstance(t, bool)
            and 0 <= t <= 1
            for t in values or [None]
        ):
            raise ValueError(
                f"`thresholds` of `{owner}` must lie in [0, 1]. "
                f"Received: thresholds={thresholds!r}."
            )
        if class_id is not None:
            class_id = checked_int(owner, "class_id", class_id)
        binary = average == "binary"
        class_ids = options.get("class_ids")
        if class_ids is not None and (binary or class_id is not None):
            raise ValueError(
                f"`class_ids` of `{owner}` cannot be combined with `class_id` "
                f"or average='binary'. Received: class_ids={class_ids!r}, "
                f"class_id={class_id!r} and average={average!r}."
            )
        if binary and options.get("num_classes") is not None:
            raise ValueError(
                f"`num_classes` of `{owner}` cannot be combined with "
                "average='binary', which counts entries. Received: "
                f"num_classes={options.get('num_classes')!r}."
            )
        if not binary and class_id is not None:
            options["class_ids"] = [class_id]
        super().__init__(
            name,
            dtype,
            average=average,
            threshold=None if binary else thresholds,
            top_k=top_k,
            **options,
        )
        self.init_thresholds = thresholds
        self.class_id = class_id
        if thresholds is None:
            values = [0.5 if top_k is None else -float("inf")]
        self.thresholds = values
        if binary:
            self._build(len(values))

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        if self.average == "binary":
            self._add_entries(y_true, y_pred, sample_weight)
        else:
            super().update_state(y_true, y_pred, sample_weight)

    def _add_entries(self, y_true: Any, y_pred: Any, weights: Any) -> None:
        mask = self._mask(y_pred)
        y_true, scores = self._entries(y_true, y_pred)
        kept = unsorted = None
        if self.top_k is not None:
            self._check_top_k(scores.shape[-1])
            kept = _among_largest(scores, self.top_k)
            # Beside a NaN, it is not known which scores are the largest.
            unsorted = _backend.has_nan(scores)
            unsorted = ops.broadcast_to(unsorted, ops.shape(scores))
        if self.top_k is not None or self.class_id is not None:
            self._check_classes(scores.shape[-1], scores.shape[-1])
        if self.class_id is not None:
            self._check_class_id(scores.shape[-1])
            y_true = y_true[..., self.class_id]
            scores = scores[..., self.class_id]
            kept, unsorted = (
                None if each is None else each[..., self.class_id]
                for each in (kept, unsorted)
            )
        rows = self._read(
            y_true[..., None], scores[..., None], weights, mask, axis=-1
        )
        self._count_entries(rows, kept, unsorted)

    def _check_class_id(self, num_classes: int) -> None:
        # JAX would use another class without an error.
        if self.class_id is not None and not 0 <= self.class_id < num_classes:
            raise ValueError(
                f"`class_id` of `{type(self).__name__}` must be one of the "
                f"{num_classes} classes, from 0 to {num_classes - 1}. "
                f"Received: class_id={self.class_id!r}."
            )

    def _count_entries(
        self, rows: Rows, kept: Tensor | None, unsorted: Tensor | None
    ) -> None:
        limits = self.thresholds
        logits = self.from_logits and limits != [-float("inf")]
        predictions = above(rows.scores, limits, from_logits=logits)
        if self.from_logits and not logits:  # logits may be infinite
            unknown = _backend.has_nan(rows.scores)
            predictions = predictions._replace(unknown=unknown)
        if kept is not None:
            predictions = predictions.scaled(ops.reshape(kept, (-1, 1)))
            unknown = ops.reshape(unsorted, (-1, 1))
            unknown = ops.logical_or(predictions.unknown, unknown)
            predictions = predictions._replace(unknown=unknown)
        positive = ops.cast(rows.labels.amounts != 0, "int32")
        labels = Columns(positive + ops.zeros_like(predictions.amounts))
        count_hits(self._counts, rows, labels, predictions)

    def _entries(self, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
        """Labels and scores of one shape, with the classes last."""
        owner = type(self).__name__
        scores = as_scores(owner, y_pred)
        check_axes(owner, scores)
        check_axis(owner, scores, self.axis)
        y_true = as_labels(owner, y_true)
        given, shape = shape_of(y_true), tuple(scores.shape)
        rank = None if given is None else len(given)
        if self.class_id is not None and (
            len(shape) == 1 or rank not in (None, len(shape))
        ):
            raise ValueError(
                f"`class_id` of `{owner}` needs labels and predictions with a "
                f"class axis. Received: y_true.shape={given}, "
                f"y_pred.shape={shape}."
            )
        if rank == len(shape) - 1 and shape[-1] == 1:
            y_true = ops.expand_dims(y_true, -1)
        elif rank == len(shape) + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, -1)
        if rank is not None and not fits(y_true.shape, shape):
            raise ValueError(
                f"Labels of `{owner}` must have the shape of the "
                f"predictions, {shape}: each entry is one decision. For class "
                "numbers pass an average over classes, such as "
                f'`average="macro"`. Received: y_true.shape={given}, '
                f"y_pred.shape={shape} and average='binary'."
            )
        if None in (*(given or (None,)), *shape):
            y_true = reshaped(owner, y_true, ops.shape(scores))
        return classes_last(y_true, self.axis), classes_last(scores, self.axis)

    def _compares_probabilities(self, num_classes: int) -> bool:
        if self.average == "binary" and self.init_thresholds is None:
            return self.top_k is None and not self.from_logits
        return super()._compares_probabilities(num_classes)

    def result(self) -> Any:
        result = super().result()
        single = self.average == "binary" and len(self.thresholds) == 1
        return result[0] if single else result

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["threshold"]
        if self.class_id is not None:
            config["class_ids"] = None
        return {
            **config,
            "thresholds": self.init_thresholds,
            "class_id": self.class_id,
        }


def _among_largest(scores: Tensor, k: int) -> Tensor:
    """1 for the k largest scores of each row, 0 for all others, int32."""
    numbers = ops.top_k(scores, k)[1]
    kept = ops.sum(ops.one_hot(numbers, scores.shape[-1]), axis=-2)
    return ops.cast(kept > 0, "int32")
