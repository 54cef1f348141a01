"""Cohen's kappa, agreement beyond chance."""

from typing import Any, Literal

from keras import ops

from keras_concepts._labels.class_amounts import Columns, Indices
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice, checked_number
from keras_concepts.metrics import _scores
from keras_concepts.metrics._agreement import Agreement
from keras_concepts.metrics._counting import count


@serializable
class CohenKappa(Agreement):
    """How much better true and predicted classes agree than by chance.

    Formula, with `d` the disagreement of two classes:

    ```python
    kappa = 1 - mean(d(true, predicted)) / mean(d of independent rows)
    ```

    In `[-1, 1]`, higher is better; a random guess scores 0. Equal to
    `sklearn.metrics.cohen_kappa_score`. Memory is three counts per class and
    one sum, not a matrix.

    Args:
        weights: How much two classes disagree: `None`, 1 if they differ;
            `"linear"`, the distance of their numbers; `"quadratic"`, its
            square. The last two are for ordered classes.
        threshold: For a single column, the probability above which class 1 is
            predicted. By default 0.5.
        zero_division: Result where kappa is 0 / 0: all labels and predictions
            are of one class.
        name: Name of the metric.
        dtype: Dtype of the result.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Rows with this label are left out.
        axis: Axis of the classes in `y_pred`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Source: Cohen (1960), *A coefficient of agreement for nominal scales*; with
    weights, Cohen (1968), *Weighted kappa*.

    Example:

    >>> import numpy as np
    >>> score = CohenKappa()
    >>> score.update_state(np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]])
    >>> float(score.result())
    0.5
    """

    def __init__(
        self,
        weights: Literal["linear", "quadratic"] | None = None,
        threshold: float | None = None,
        zero_division: float = 0.0,
        name: str | None = "cohen_kappa",
        dtype: Any = None,
        *,
        num_classes: int | None = None,
        labels: Literal["auto", "sparse", "dense"] = "auto",
        from_logits: bool = False,
        ignore_class: float | None = None,
        axis: int = -1,
        use_mask: bool = True,
    ) -> None:
        super().__init__(
            name,
            dtype,
            threshold=threshold,
            num_classes=num_classes,
            labels=labels,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            use_mask=use_mask,
        )
        check_choice(
            "CohenKappa", "weights", weights, (None, "linear", "quadratic")
        )
        self.weights = weights
        self.zero_division = checked_number(
            "CohenKappa", "zero_division", zero_division, finite=False
        )
        self._disagreement = ExactSum(self, "disagreement", (1,))

    def _add(self, rows: Rows, labels: Indices, predictions: Indices) -> None:
        super()._add(rows, labels, predictions)
        known = labels.numbers >= 0
        distance = self._distance(labels.numbers, predictions.numbers)
        disagreement = Columns(ops.where(known, distance, 0))
        count(self._disagreement, rows.weighted(disagreement))

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        if self.weights is None:
            return ops.cast(a != b, "int32")
        # Integers would overflow, with 1000 classes after 2000 rows.
        distance = ops.cast(a - b, "float32")
        if self.weights == "linear":
            return ops.abs(distance)
        return ops.square(distance)

    def result(self) -> Any:
        words = self._words()
        true, predicted, _ = ops.unstack(words, axis=1)
        total = ops.sum(true, axis=1, keepdims=True)
        rows = total_of(total, self._computing)
        predicted, others, true = (
            _scores.ratio(total_of(cell, self._computing), rows, 0.0)
            for cell in (predicted, total - predicted, true)
        )
        if self.weights is None:
            expected = ops.sum(true * others)
        else:
            numbers = ops.arange(true.shape[0], dtype="int32")
            distance = self._distance(numbers[:, None], numbers)
            distance = ops.cast(distance, true.dtype)
            expected = ops.sum(true[:, None] * distance * predicted)
        observed = total_of(self._disagreement.words, self._computing)
        observed = _scores.ratio(observed, rows, 0.0)[0]
        undefined = 1 - self.zero_division
        return self._cast(1 - _scores.ratio(observed, expected, undefined))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "weights": self.weights,
            "zero_division": self.zero_division,
        }
