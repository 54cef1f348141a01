"""F1, the harmonic mean of precision and recall."""

from collections.abc import Sequence
from typing import Any, Unpack

from keras_concepts._registration import serializable
from keras_concepts.metrics._class_counts import Average, ChoiceOptions
from keras_concepts.metrics.fbeta_score import FBetaScore


@serializable
class F1Score(FBetaScore):
    """F1 over the whole stream, equal to `sklearn.metrics.f1_score`.

    Formula, of each class:

    ```python
    f1 = 2 * hits / (true + predicted)
    ```

    In `[0, 1]`, higher is better. It takes the place of
    `keras.metrics.F1Score`; `FBetaScore` says where it differs.

    Args:
        average: `None`, `"micro"`, `"macro"`, `"weighted"` or `"samples"`, as
            in `FBetaScore`.
        threshold: Probability above which a class is predicted, or one for each
            class. By default the class with the largest score is predicted.
        name: Name of the metric.
        dtype: Dtype of the result.
        options: The keyword arguments of `FBetaScore`.

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
        **options: Unpack[ChoiceOptions],
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype, **options)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["beta"]
        return config
