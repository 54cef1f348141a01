"""Calibration error, the gap between confidence and accuracy."""

from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._figures import new_figure
from keras_concepts._labels.class_amounts import UNKNOWN, Columns, Indices
from keras_concepts._labels.predictions import largest
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics import histogram
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice, checked_size
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_metric import ClassMetric
from keras_concepts.metrics._counting import count, count_unknown


class CalibrationCurve(NamedTuple):
    """What a reliability diagram shows.

    Attributes:
        confidence: Mean predicted probability of each bin that is not empty.
        accuracy: How often the prediction was right.
        share: Share of all rows in the bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray


@serializable
class CalibrationError(ClassMetric):
    """How far predicted probabilities are from observed frequencies.

    Rows are put into bins by their confidence. The error is the mean gap
    between the accuracy and the mean confidence of a bin:

    ```python
    error = sum(share * abs(accuracy - confidence) for each bin)
    ```

    In `[0, 1]`, lower is better. With two or more classes, the confidence is
    that of the predicted class and the accuracy how often it is the true class.
    With a single column, the confidence is the probability of class 1 and the
    accuracy how often class 1 is true. The value depends on the bins.

    Args:
        bins: Number of bins.
        norm: How gaps are combined: `"l1"`, their mean, the *expected
            calibration error*; `"l2"`, the root of their mean square; `"max"`,
            the largest, the *maximum calibration error*.
        spacing: `"even"`, bins of equal width in the probability; `"logit"`, in
            its logit, which resolves probabilities near 0 and 1.
        name: Name of the metric.
        dtype: Dtype of the result.
        num_classes: Number of classes. By default taken from the first batch.
        labels: `"sparse"`, class numbers; `"dense"`, a label for each class; or
            `"auto"`, inferred from the shape of `y_true`.
        from_logits: Whether `y_pred` holds logits. With two or more classes, a
            softmax turns them into probabilities.
        ignore_class: Rows with this label are left out. Where each class has
            its own label and `ignore_class` is not one of the classes, such as
            -1 or `nan`, only rows where the label of the predicted class equals
            it.
        axis: Axis of the classes in `y_pred`.
        use_mask: Whether to leave out rows that a Keras mask hides, where the
            trainer passes masks; see `FBetaScore`.

    Source: Guo, Pleiss, Sun and Weinberger (2017), *On calibration of modern
    neural networks*, equations 3 and 5.

    Example:

    >>> error = CalibrationError(bins=10)
    >>> error.update_state([[1], [0], [1], [1]], [[0.7], [0.7], [0.7], [0.7]])
    >>> round(float(error.result()), 4)
    0.05
    """

    _needs_probabilities: ClassVar[bool] = True

    def __init__(
        self,
        bins: int = 15,
        norm: Literal["l1", "l2", "max"] = "l1",
        spacing: Literal["even", "logit"] = "even",
        name: str | None = "calibration_error",
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
        check_choice("CalibrationError", "norm", norm, ("l1", "l2", "max"))
        check_choice("CalibrationError", "spacing", spacing, ("even", "logit"))
        self.bins = checked_size("CalibrationError", "bins", bins)
        self.norm = norm
        self.spacing = spacing
        self._sums = ExactSum(self, "confidence_hits_and_weight", (3, bins))

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        rows = self._read(y_true, y_pred, sample_weight, self._mask(y_pred))
        found = rows.scores.shape[1]
        self._check_classes(found, found)
        self._count(rows)

    def _count(self, rows: Rows) -> None:
        confidence, hits, weights = self._confidence(rows)
        bins = ops.searchsorted(
            ops.convert_to_tensor(self._edges()), confidence, side="left"
        )
        known = ops.isfinite(confidence)
        bins = ops.where(known, bins, UNKNOWN)
        confidence = ops.where(known, confidence, 0)
        count(
            self._sums,
            *(
                Indices(bins[:, None], self.bins, amounts[:, None])
                for amounts in (confidence * weights, hits * weights, weights)
            ),
        )
        count_unknown(self._sums, rows)

    def _confidence(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Confidence of each row, how right it is, and its weight."""
        shares = rows.probabilities(from_logits=self.from_logits)
        weights = rows.float_weights()
        if shares.shape[1] == 1:
            return shares[:, 0], rows.labels.dense()[:, 0], weights
        predicted = largest(shares)
        known = predicted < shares.shape[1]
        confidence = ops.where(
            known,
            ops.take_along_axis(shares, ops.where(known, predicted, 0), axis=1),
            float("nan"),
        )[:, 0]
        hits = ops.cast(rows.labels.at(predicted)[:, 0], "float32")
        if rows.answered is not None:
            there = Columns(rows.answered).at(predicted)[:, 0]
            weights = weights * ops.cast(there, "float32")
        return confidence, hits, weights

    def _edges(self) -> np.ndarray:
        if self.spacing == "even":
            return histogram.even_edges(self.bins)
        edges = histogram.logit_edges(self.bins)
        return histogram.sigmoid(edges).astype("float32")

    def result(self) -> Any:
        words = total_of(self._sums.words, self._computing)
        confidence, hits, weight = ops.unstack(words)
        share = _scores.ratio(weight, ops.sum(weight), 0.0)
        gap = ops.abs(_scores.ratio(hits - confidence, weight, 0.0))
        if self.norm == "max":
            # Not every compiler's maximum propagates NaN.
            error = ops.max(gap) + 0 * ops.sum(gap)
        elif self.norm == "l2":
            error = ops.sqrt(ops.sum(share * ops.square(gap)))
        else:
            error = ops.sum(share * gap)
        return self._cast(error)

    def curve(self) -> CalibrationCurve:
        """The bins that are not empty, as NumPy arrays."""
        words = keras.ops.convert_to_numpy(total_of(self._sums.words))
        confidence, hits, weight = words[:, words[2] > 0].astype("float64")
        return CalibrationCurve(
            confidence / weight, hits / weight, weight / weight.sum()
        )

    def plot(self, path: str | Path | None = None, ax: Any = None) -> Any:
        """Draws accuracy over confidence, with bins sized by their share.

        Needs the extra `keras-concepts[plot]`.

        Args:
            path: File to save the figure to instead of showing it.
            ax: matplotlib axes to draw on instead of a new figure.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        if ax is None:
            ax = new_figure(4.5, 4.5, shown=path is None).add_subplot()
        curve = self.curve()
        ax.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        (line,) = ax.plot(curve.confidence, curve.accuracy, linewidth=1.5)
        ax.scatter(
            curve.confidence,
            curve.accuracy,
            s=8 + 300 * curve.share,
            color=line.get_color(),
            alpha=0.7,
        )
        ax.set(
            xlabel="confidence",
            ylabel="accuracy",
            xlim=(0, 1),
            ylim=(0, 1),
            aspect="equal",
            title=f"calibration error {float(self.result()):.3f}",
        )
        if path is not None:
            ax.figure.savefig(path)
        return ax.figure

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "bins": self.bins,
            "norm": self.norm,
            "spacing": self.spacing,
        }
