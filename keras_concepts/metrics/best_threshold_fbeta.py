"""The best F-beta over all thresholds, and that threshold."""

from typing import Any, Literal

import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._labels.class_amounts import UNKNOWN, Indices
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics import histogram
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_beta, checked_int, checked_size
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_metric import ClassMetric
from keras_concepts.metrics._counting import count, count_unknown


@serializable
class BestThresholdFBeta(ClassMetric):
    """The largest F-beta of a binary classifier over all thresholds.

    The result is a dict. `{name}` is the best F-beta among the thresholds
    tried, in `[0, 1]`, higher is better. `{name}_threshold` is that threshold,
    a probability. `{name}_bound` is an upper bound on how much better any other
    threshold could be. A row is predicted positive if its probability is above
    the threshold.

    The thresholds tried are evenly spaced in the logit, from -16 to 16, so that
    they include those near 0, for rare events. Memory is two counts per
    threshold.

    A threshold that is chosen and evaluated on the same data looks better than
    it is: choose it on the validation data, and pass it to
    `F1Score(threshold=...)` for the test data.

    Args:
        beta: How many times as important recall is as precision.
        bins: One more than the number of thresholds tried.
        class_id: Column of the positive class if there are several. By default
            the last of two.
        name: Name of the metric, and of the keys of its result.
        dtype: Dtype of the results.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits.
        ignore_class: Rows with this label are left out. Where each class has
            its own label and `ignore_class` is not one of the classes, such as
            -1 or `nan`, only rows where the label of the positive class equals
            it.
        axis: Axis of the classes in `y_pred`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Example:

    >>> best = BestThresholdFBeta()
    >>> best.update_state([[0], [0], [1], [1]], [[0.1], [0.2], [0.2001], [0.4]])
    >>> {key: round(float(value), 2) for key, value in best.result().items()}
    {'best_fbeta': 0.8, 'best_fbeta_threshold': 0.1, 'best_fbeta_bound': 0.2}
    """

    def __init__(
        self,
        beta: float = 1.0,
        bins: int = 4096,
        class_id: int | None = None,
        name: str | None = "best_fbeta",
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
        _backend.say_direction(self, "up")
        owner = "BestThresholdFBeta"
        self.beta = checked_beta(owner, beta)
        self.bins = checked_size(owner, "bins", bins, low=2)
        if class_id is not None:
            class_id = checked_int(owner, "class_id", class_id)
        self.class_id = class_id
        self._counts = ExactSum(self, "positive_and_all", (2, bins))

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        rows = self._read(y_true, y_pred, sample_weight, self._mask(y_pred))
        found = rows.scores.shape[1]
        self._check_classes(found, found)
        self._count(rows)

    def _count(self, rows: Rows) -> None:
        num_classes = rows.scores.shape[1]
        column = self._column(num_classes)
        # Logits of a sigmoid are compared with edges in the logit.
        logits = self.from_logits and num_classes == 1
        scores = rows.probabilities(from_logits=self.from_logits and not logits)
        scores = ops.take(scores, column, axis=1)
        edges = ops.convert_to_tensor(self._edges(logits=logits))
        bins = ops.searchsorted(edges, scores, side="left")
        known = scores == scores if logits else ops.isfinite(scores)
        bins = ops.where(known, bins, UNKNOWN)
        labels = rows.labels.dense()[:, column]
        weights = rows.weights_of(column)
        count(
            self._counts,
            Indices(bins[:, None], self.bins, (labels * weights)[:, None]),
            Indices(bins[:, None], self.bins, weights[:, None]),
        )
        count_unknown(self._counts, rows)

    def _compares_probabilities(self, num_classes: int) -> bool:
        return not self.from_logits

    def _column(self, num_classes: int) -> int:
        if self.class_id is None and num_classes <= 2:
            return num_classes - 1
        if self.class_id is None or not 0 <= self.class_id < num_classes:
            raise ValueError(
                "`class_id` of `BestThresholdFBeta` must name one of the "
                f"{num_classes} classes. Received: class_id={self.class_id!r}."
            )
        return self.class_id

    def _edges(self, *, logits: bool) -> np.ndarray:
        edges = histogram.logit_edges(self.bins)
        return (edges if logits else histogram.sigmoid(edges)).astype("float32")

    def result(self) -> dict[str, Any]:
        counts = total_of(self._counts.words, self._computing)
        # Counts above each threshold: all bins to its right.
        above = ops.flip(ops.cumsum(ops.flip(counts, axis=1), axis=1), axis=1)
        hits, predicted = ops.unstack(above[:, 1:])
        true = above[0, 0]

        scores = self._fbeta(hits, predicted, true)
        best = ops.argmax(scores)
        # At best, a threshold inside a bin separates the bin's positive rows
        # from its negative ones.
        outside = ops.pad(above[:, 1:], ((0, 0), (0, 1)))
        possible = outside + counts[0]
        ceiling = ops.max(self._fbeta(possible[0], possible[1], true))
        found = ops.take(scores, best)
        thresholds = ops.convert_to_tensor(self._edges(logits=False))
        name = self._name_in_logs
        result = {
            name: found,
            f"{name}_threshold": ops.where(
                ops.isnan(found), found, ops.take(thresholds, best)
            ),
            f"{name}_bound": ceiling - found,
        }
        return self._cast_each(result)

    def _fbeta(self, hits: Tensor, predicted: Tensor, true: Tensor) -> Tensor:
        return _scores.fbeta(hits, predicted, true, 0.0, self.beta)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "beta": self.beta,
            "bins": self.bins,
            "class_id": self.class_id,
        }
