"""Matthews' correlation of true and predicted classes."""

from typing import Any, Literal

from keras import ops

from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts.metrics import _scores
from keras_concepts.metrics._agreement import Agreement


@serializable
class MatthewsCorrelation(Agreement):
    """The correlation between true and predicted classes, two or more.

    Formula, with the counts of each class against all others:

    ```python
    covariance = sum(tp * tn - fn * fp)
    mcc = covariance / sqrt(
        sum(predicted * (n - predicted)) * sum(true * (n - true))
    )
    ```

    In `[-1, 1]`, higher is better; a random guess scores 0, and 0 / 0 counts
    as 0. Equal to `sklearn.metrics.matthews_corrcoef`, even where classes are
    rare. Memory is three counts per class, not a matrix.

    Args:
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

    Source: Gorodkin (2004), *Comparing two K-category assignments by a
    K-category correlation coefficient*, equations 8 and 11.

    Example:

    >>> import numpy as np
    >>> score = MatthewsCorrelation()
    >>> score.update_state(np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]])
    >>> round(float(score.result()), 4)
    0.5774
    """

    def __init__(
        self,
        threshold: float | None = None,
        name: str | None = "matthews_correlation",
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

    def result(self) -> Any:
        # The cells are differences of large counts. Computed in words, before
        # rounding to floats, they are exact.
        words = self._words()
        true, predicted, hits = ops.unstack(words, axis=1)
        total = ops.sum(true, axis=1, keepdims=True)
        # The same number except for the rounding of weights: with only one
        # class, subtracting it from the total must leave exactly 0.
        all_predicted = ops.sum(predicted, axis=1, keepdims=True)
        cells = {
            "tp": hits,
            "fp": predicted - hits,
            "fn": true - hits,
            "tn": total - predicted - true + hits,
            "predicted": predicted,
            "others_predicted": all_predicted - predicted,
            "true": true,
            "others_true": total - true,
        }
        rows = total_of(total, self._computing)
        share = {
            name: _scores.ratio(total_of(cell, self._computing), rows, 0.0)
            for name, cell in cells.items()
        }
        covariance = ops.sum(
            share["tp"] * share["tn"] - share["fn"] * share["fp"]
        )
        spread = ops.sqrt(
            ops.sum(share["predicted"] * share["others_predicted"])
        ) * ops.sqrt(ops.sum(share["true"] * share["others_true"]))
        return self._cast(_scores.ratio(covariance, spread, 0.0))
