"""Precision, the share of what was predicted that is true."""

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts.metrics import _scores
from keras_concepts.metrics._entry_counts import EntryCounts


@serializable
class Precision(EntryCounts):
    """Precision over the whole stream: of what was predicted, how much is true.

    Formula:

    ```python
    precision = hits / predicted
    ```

    In `[0, 1]`, higher is better. It takes the place of
    `keras.metrics.Precision`, and with `average=` it is
    `sklearn.metrics.precision_score`. Counts are exact, also beyond 2**24.

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

    >>> score = Precision()
    >>> score.update_state([0, 1, 1, 1], [0.9, 0.2, 0.8, 0.7])
    >>> round(float(score.result()), 4)
    0.6667
    """

    def _score(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return _scores.precision(hits, predicted, true, self.zero_division)
