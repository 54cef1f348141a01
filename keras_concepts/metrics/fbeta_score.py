"""F-beta, the weighted harmonic mean of precision and recall."""

from collections.abc import Sequence
from typing import Any, Literal

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import (
    check_choice,
    check_probability,
    checked_beta,
)
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_counts import AVERAGES, Average, ClassCounts


@serializable
class FBetaScore(ClassCounts):
    """F-beta over the whole stream, equal to `sklearn.metrics.fbeta_score`.

    Formula for each class:

    ```python
    fbeta = (1 + beta**2) * hits / (beta**2 * true + predicted)
    ```

    where `hits` is the number of true positives. In `[0, 1]`, higher is better.
    It replaces `keras.metrics.FBetaScore`, and differs from it in these points:

    - Labels may be class numbers, of shape `(n,)` or `(n, 1)`.
    - If several scores are the largest, the first is predicted, not all of
      them, however small it is.
    - A single column with `threshold=None` is compared with 0.5.
    - Outputs may have any rank, such as `(batch, time, classes)`.
    - Keras' masks are respected where the trainer passes them.
    - Counts are exact, even beyond 2**24; nothing is added to a denominator.
    - A NaN among predictions, labels or weights makes the result NaN. Entries
      that are masked, ignored or of weight 0 may hold anything.
    - Shapes that do not fit raise an error rather than broadcast.

    Memory is three counts per class.

    Args:
        average: `None`, the score of each class; `"micro"`, the score of all
            classes pooled; `"macro"`, the mean over classes; `"weighted"`, the
            mean weighted by the number of labels; `"samples"`, the mean of each
            row's own score, for multi-hot labels.
        beta: How many times as important recall is as precision. A float
            above 0.
        threshold: Probability above which a class is predicted, in `(0, 1]`, or
            a list with one for each class. By default the class with the
            largest score is predicted.
        name: Name of the metric.
        dtype: Dtype of the result. Counts are exact whatever it is.
        num_classes: Number of classes. By default taken from the first batch.
        labels: What `y_true` holds: `"sparse"`, class numbers; `"dense"`, a
            label for each class (one-hot, multi-hot or soft); or `"auto"`,
            inferred from its shape.
        from_logits: Whether `y_pred` holds logits. `threshold` is a probability
            in either case.
        top_k: How many of the largest scores are predicted; with a `threshold`,
            only those above it. Which of several equal scores is the k-th
            depends on the backend.
        class_ids: The classes that take part in the result, by default all.
            With `average=None` the result is in this order.
        ignore_class: Rows with this label are left out. Where each class has
            its own label, as in multi-hot labels, and `ignore_class` is not one
            of the classes, such as -1 or `nan`, only the class with this label
            is left out, in that row.
        axis: Axis of the classes in `y_pred`.
        zero_division: Score where there are neither labels nor predictions: a
            number or `nan`, which averages leave out.
        absent: Whether classes with neither labels nor predictions count in the
            macro average: `"zero"`, with the score `zero_division`, as in
            Keras; or `"skip"`, as in scikit-learn.
        use_mask: Whether to leave out entries that a Keras mask on `y_pred`
            hides. In `fit` on JAX, Keras passes no mask to metrics: use
            `ignore_class` or sample weights there.

    Raises:
        ValueError: If an argument is not as above, or, in `update_state`, if
            shapes do not fit, the classes differ from those of earlier batches,
            or a label is not one of the classes or not between 0 and 1. Where
            labels cannot be read, as in a compiled step, the result becomes
            NaN, and `result` warns.

    Example:

    >>> import numpy as np
    >>> score = FBetaScore(average="macro", beta=2.0)
    >>> labels = np.array([0, 1, 2, 2])
    >>> predictions = np.eye(3)[[0, 2, 2, 2]]
    >>> score.update_state(labels, predictions)
    >>> round(float(score.result()), 4)
    0.6364
    """

    def __init__(
        self,
        average: Average = None,
        beta: float = 1.0,
        threshold: float | Sequence[float] | None = None,
        name: str | None = "fbeta_score",
        dtype: Any = None,
        *,
        num_classes: int | None = None,
        labels: Literal["auto", "sparse", "dense"] = "auto",
        from_logits: bool = False,
        top_k: int | None = None,
        class_ids: Sequence[int] | None = None,
        ignore_class: float | None = None,
        axis: int = -1,
        zero_division: float = 0.0,
        absent: Literal["zero", "skip"] = "zero",
        use_mask: bool = True,
    ) -> None:
        owner = type(self).__name__
        check_choice(owner, "average", average, AVERAGES)
        if not isinstance(beta, float) or not beta > 0:
            raise ValueError(
                f"Invalid `beta` argument value. `beta` of `{owner}` must be a "
                f"Python float above 0. Received: beta={beta!r}."
            )
        beta = checked_beta(owner, beta)
        if threshold is not None:
            check_probability(owner, "threshold", threshold)
        super().__init__(
            name,
            dtype,
            average=average,
            threshold=threshold,
            top_k=top_k,
            class_ids=class_ids,
            zero_division=zero_division,
            absent=absent,
            num_classes=num_classes,
            labels=labels,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            use_mask=use_mask,
        )
        self.beta = beta

    def _score(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return _scores.fbeta(
            hits, predicted, true, self.zero_division, self.beta
        )

    @property
    def intermediate_weights(self) -> Tensor:
        """Number of labels, or their weight, per class or pooled."""
        return self._totals()[2]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}
