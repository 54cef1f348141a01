"""F1, the harmonic mean of precision and recall."""

from collections.abc import Sequence
from typing import Any, Literal

from keras_concepts._registration import serializable
from keras_concepts.metrics._class_counts import Average
from keras_concepts.metrics.fbeta_score import FBetaScore


@serializable
class F1Score(FBetaScore):
    """F1 over the whole stream, equal to `sklearn.metrics.f1_score`.

    Formula for each class:

    ```python
    f1 = 2 * hits / (true + predicted)
    ```

    In `[0, 1]`, higher is better. It replaces `keras.metrics.F1Score`;
    see `FBetaScore` for the differences.

    Args:
        average: `None`, `"micro"`, `"macro"`, `"weighted"` or `"samples"`, as
            in `FBetaScore`.
        threshold: Probability above which a class is predicted, or one for each
            class. By default the class with the largest score is predicted.
        name: Name of the metric.
        dtype: Dtype of the result.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits. Thresholds are probabilities
            in either case.
        top_k: How many of the largest scores are predicted.
        class_ids: The classes that take part in the result.
        ignore_class: Label of what to leave out; see `FBetaScore`.
        axis: Axis of the classes in `y_pred`.
        zero_division: Score where there are neither labels nor predictions.
        absent: Whether classes with neither labels nor predictions count in the
            macro average: `"zero"` or `"skip"`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Example:

    >>> import numpy as np
    >>> score = F1Score(average="macro")
    >>> labels = np.array([0, 1, 2, 2])
    >>> predictions = np.eye(3)[[0, 2, 2, 2]]
    >>> score.update_state(labels, predictions)
    >>> round(float(score.result()), 4)
    0.6
    """

    def __init__(
        self,
        average: Average = None,
        threshold: float | Sequence[float] | None = None,
        name: str | None = "f1_score",
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
        super().__init__(
            average,
            1.0,
            threshold,
            name,
            dtype,
            num_classes=num_classes,
            labels=labels,
            from_logits=from_logits,
            top_k=top_k,
            class_ids=class_ids,
            ignore_class=ignore_class,
            axis=axis,
            zero_division=zero_division,
            absent=absent,
            use_mask=use_mask,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config
