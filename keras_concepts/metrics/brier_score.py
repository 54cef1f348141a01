"""The Brier score, the squared error of probabilities."""

from typing import Any, ClassVar, Literal

from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._validation import checked_bool
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_metric import ClassMetric
from keras_concepts.metrics._counting import add_mean, count_unknown


@serializable
class BrierScore(ClassMetric):
    """The mean squared error of predicted probabilities.

    Formula:

    ```python
    brier = mean(sum((probability - label) ** 2 for each class))
    ```

    In `[0, 2]` if the probabilities of a row sum to 1, and in `[0, 1]` for a
    single column; lower is better. Rows of several sigmoids need not sum to 1
    and may reach 1 per class. It is a proper score: nothing beats predicting
    the true probabilities. Equal to `sklearn.metrics.brier_score_loss`.

    Args:
        scale_by_half: Whether to halve the sum over two or more classes, so
            that it is in `[0, 1]` too. A single column is never halved.
        name: Name of the metric.
        dtype: Dtype of the result.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits. With two or more classes, a
            softmax turns them into probabilities.
        ignore_class: Rows with this label are left out.
        axis: Axis of the classes in `y_pred`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Source: Brier (1950), *Verification of forecasts expressed in terms of
    probability*.

    Example:

    >>> import numpy as np
    >>> score = BrierScore()
    >>> score.update_state(np.array([1, 0]), np.array([[0.2, 0.8], [0.5, 0.5]]))
    >>> round(float(score.result()), 4)
    0.29
    """

    _one_class: ClassVar[bool] = True
    _needs_probabilities: ClassVar[bool] = True

    def __init__(
        self,
        scale_by_half: bool = False,
        name: str | None = "brier_score",
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
            num_classes=num_classes,
            labels=labels,
            from_logits=from_logits,
            ignore_class=ignore_class,
            axis=axis,
            use_mask=use_mask,
        )
        _backend.say_direction(self, "down")
        self.scale_by_half = checked_bool(
            "BrierScore", "scale_by_half", scale_by_half
        )
        self._sums = ExactSum(self, "error_and_weight", (2,))

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        rows = self._read(y_true, y_pred, sample_weight, self._mask(y_pred))
        found = rows.scores.shape[1]
        self._check_classes(found, found)
        self._count(rows)

    def _count(self, rows: Rows) -> None:
        error = rows.probabilities(from_logits=self.from_logits)
        error = error - rows.labels.dense()
        error = ops.sum(ops.square(error), axis=1)
        if self.scale_by_half and rows.scores.shape[1] > 1:
            error = error / 2
        add_mean(self._sums, error, rows.float_weights())
        count_unknown(self._sums, rows)

    def result(self) -> Any:
        error, weight = ops.unstack(total_of(self._sums.words, self._computing))
        return self._cast(_scores.ratio(error, weight, 0.0))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scale_by_half": self.scale_by_half}
