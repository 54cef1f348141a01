"""Recall, the share of labels that are predicted."""

from collections.abc import Sequence
from typing import Any, Literal

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts.metrics import _scores
from keras_concepts.metrics._entry_counts import EntryAverage, EntryCounts


@serializable
class Recall(EntryCounts):
    """Recall over the whole stream: the share of labels that are predicted.

    Formula:

    ```python
    recall = hits / true
    ```

    In `[0, 1]`, higher is better. It replaces `keras.metrics.Recall`, and with
    `average=` it is `sklearn.metrics.recall_score`. Counts are exact, even
    beyond 2**24.

    Args:
        thresholds: Probability above which an entry is predicted; a list gives
            a result for each. By default 0.5, or none with `top_k`. With an
            average other than `"binary"`: as `threshold` of `FBetaScore`.
        top_k: Only the k largest scores of each row are predicted.
        class_id: The only class that counts.
        name: Name of the metric.
        dtype: Dtype of the result.
        average: `"binary"`, as in Keras: each entry of `y_pred` is one decision
            on its own, and labels have the shape of `y_pred`. Else `None`,
            `"micro"`, `"macro"`, `"weighted"` or `"samples"`, as in
            `FBetaScore`, where the class with the largest score is predicted
            and labels may be class numbers.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits. Thresholds are probabilities
            in either case.
        class_ids: The classes that take part in the result.
        ignore_class: Label of what to leave out; see `FBetaScore`.
        axis: Axis of the classes in `y_pred`.
        zero_division: Score where there are neither labels nor predictions.
        absent: Whether classes with neither labels nor predictions count in the
            macro average: `"zero"` or `"skip"`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Example:

    >>> score = Recall()
    >>> score.update_state([0, 1, 1, 1], [0.9, 0.2, 0.8, 0.7])
    >>> round(float(score.result()), 4)
    0.6667
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
        num_classes: int | None = None,
        labels: Literal["auto", "sparse", "dense"] = "auto",
        from_logits: bool = False,
        class_ids: Sequence[int] | None = None,
        ignore_class: float | None = None,
        axis: int = -1,
        zero_division: float = 0.0,
        absent: Literal["zero", "skip"] = "zero",
        use_mask: bool = True,
    ) -> None:
        super().__init__(
            thresholds,
            top_k,
            class_id,
            name,
            dtype,
            average=average,
            num_classes=num_classes,
            labels=labels,
            from_logits=from_logits,
            class_ids=class_ids,
            ignore_class=ignore_class,
            axis=axis,
            zero_division=zero_division,
            absent=absent,
            use_mask=use_mask,
        )

    def _score(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return _scores.recall(hits, predicted, true, self.zero_division)
