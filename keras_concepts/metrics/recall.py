"""Recall, the share of what is true that was predicted."""

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts.metrics import _scores
from keras_concepts.metrics._entry_counts import EntryCounts


@serializable
class Recall(EntryCounts):
    """Recall over the whole stream: of what is true, how much was predicted.

    Formula:

    ```python
    recall = hits / true
    ```

    In `[0, 1]`, higher is better. It takes the place of
    `keras.metrics.Recall`, and with `average=` it is
    `sklearn.metrics.recall_score`. Counts are exact, also beyond 2**24.

    Args:
        thresholds: Probability above which an entry is predicted; a list gives
            a result for each. By default 0.5, or with `top_k` none. With an
            average other than `"binary"`: as `threshold` of `FBetaScore`.
        top_k: Only the k largest scores of each row are predicted.
        class_id: The one class that is looked at.
        name: Name of the metric.
        dtype: Dtype of the result.
        average: `"binary"`, as in Keras: each entry of `y_pred` is one decision
            on its own, and labels have the shape of `y_pred`. Else `None`,
            `"micro"`, `"macro"`, `"weighted"` or `"samples"`, as in
            `FBetaScore`, where the class with the largest score is predicted
            and labels may be class numbers.
        options: The keyword arguments of `FBetaScore`.

    Example:

    >>> score = Recall()
    >>> score.update_state([0, 1, 1, 1], [0.9, 0.2, 0.8, 0.7])
    >>> round(float(score.result()), 4)
    0.6667
    """

    def _score(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return _scores.recall(hits, predicted, true, self.zero_division)
