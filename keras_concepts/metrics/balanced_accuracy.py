"""Balanced accuracy, the mean recall of the classes."""

from typing import Any, Literal

from keras import ops

from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._validation import checked_bool
from keras_concepts.metrics import _scores
from keras_concepts.metrics._agreement import Agreement


@serializable
class BalancedAccuracy(Agreement):
    """The mean recall of the classes: accuracy with equal weight per class.

    Formula:

    ```python
    balanced_accuracy = mean(hits / true for each class that has labels)
    ```

    In `[0, 1]`, higher is better; a random guess among C classes scores 1 / C.
    Equal to `sklearn.metrics.balanced_accuracy_score`.

    Args:
        adjusted: Whether to rescale so that a random guess scores 0 and perfect
            predictions score 1.
        threshold: For a single column, the probability above which class 1 is
            predicted. By default 0.5.
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

    Example:

    >>> import numpy as np
    >>> score = BalancedAccuracy()
    >>> score.update_state(np.array([0, 0, 0, 1]), np.eye(2)[[0, 0, 0, 0]])
    >>> float(score.result())
    0.5
    """

    def __init__(
        self,
        adjusted: bool = False,
        threshold: float | None = None,
        name: str | None = "balanced_accuracy",
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
        self.adjusted = checked_bool("BalancedAccuracy", "adjusted", adjusted)

    def result(self) -> Any:
        true, _, hits = ops.unstack(total_of(self._words(), self._computing))
        present = ops.cast(true != 0, hits.dtype)
        count = ops.sum(present)
        score = _scores.ratio(
            ops.sum(_scores.ratio(hits, true, 0.0)), count, 0.0
        )
        if self.adjusted:
            chance = _scores.ratio(ops.ones_like(count), count, 0.0)
            score = _scores.ratio(score - chance, 1 - chance, 0.0)
        return self._cast(score)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "adjusted": self.adjusted}
