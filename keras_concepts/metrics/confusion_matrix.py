"""The confusion matrix, the count of each pair of classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import keras
from keras import ops

from keras_concepts._labels.class_amounts import Indices
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice
from keras_concepts.metrics import _scores
from keras_concepts.metrics._agreement import Agreement
from keras_concepts.metrics._class_metric import ReadingOptions
from keras_concepts.metrics._counting import count, count_unknown


@serializable
class ConfusionMatrix(Agreement):
    """How often each class was predicted as each class.

    Row i, column j holds the number of rows of class i that were predicted as
    class j, as in `sklearn.metrics.confusion_matrix`. Memory is one
    float64 per cell, or three float32.

    The result is a matrix, which `fit` puts into its logs as it is: add the
    metric to `compile` for its `plot()` after `evaluate`, and use
    `ClassificationReport` for numbers that callbacks can monitor.

    Args:
        normalize: `None`, counts; `"true"`, shares of each row; `"pred"`, of
            each column; `"all"`, of everything.
        class_names: Names of the classes, for `plot`.
        threshold: For a single column, the probability above which class 1 is
            predicted. By default 0.5.
        name: Name of the metric.
        dtype: Dtype of the result.
        options: `num_classes`, `labels`, `from_logits`, `ignore_class`, `axis`
            and `use_mask`, as in `FBetaScore`.

    Example:

    >>> import numpy as np
    >>> matrix = ConfusionMatrix()
    >>> matrix.update_state(np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]])
    >>> [[float(cell) for cell in row] for row in matrix.result()]
    [[2.0, 0.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        normalize: Literal["true", "pred", "all"] | None = None,
        class_names: Sequence[str] | None = None,
        threshold: float | None = None,
        name: str | None = "confusion_matrix",
        dtype: Any = None,
        **options: Unpack[ReadingOptions],
    ) -> None:
        super().__init__(name, dtype, threshold=threshold, **options)
        check_choice(
            "ConfusionMatrix",
            "normalize",
            normalize,
            (None, "true", "pred", "all"),
        )
        self.normalize = normalize
        self.class_names = class_names

    def _build(self, num_classes: int) -> None:
        self._counts = ExactSum(self, "counts", (num_classes * num_classes,))

    def _add(self, rows: Rows, labels: Indices, predictions: Indices) -> None:
        # Rows without a class have no prediction either.
        row = ops.maximum(labels.numbers, 0) * labels.num_classes
        cells = Indices(row + predictions.numbers, labels.num_classes**2)
        count(self._counts, rows.weighted(cells))
        count_unknown(self._counts, rows)

    def result(self) -> Tensor:
        cells = total_of(self._words(), self._computing)
        size = round(cells.shape[0] ** 0.5)
        matrix = ops.reshape(cells, (size, size))
        if self.normalize is not None:
            axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
            total = ops.sum(matrix, axis=axis, keepdims=True)
            matrix = _scores.ratio(matrix, total, 0.0)
        return self._cast(matrix)

    def plot(self, path: str | Path | None = None, ax: Any = None) -> Any:
        """Draws the matrix with scikit-learn's display.

        Args:
            path: File to save the figure to.
            ax: matplotlib axes to draw on, instead of a figure of its own.

        Returns:
            The matplotlib figure. Needs scikit-learn and matplotlib.
        """
        from matplotlib.figure import Figure
        from sklearn.metrics import ConfusionMatrixDisplay

        matrix = keras.ops.convert_to_numpy(self.result())
        size = len(matrix)
        if ax is None:
            inches = max(4.0, 0.5 * size + 2)
            figure = Figure(figsize=(inches + 1, inches), layout="constrained")
            ax = figure.add_subplot()
        display = ConfusionMatrixDisplay(
            matrix, display_labels=self.class_names or range(size)
        )
        whole = (matrix == matrix.round()).all() and self.normalize is None
        display.plot(
            ax=ax,
            cmap="Blues",
            include_values=size <= 20,
            values_format=".0f" if whole else ".2f",
            xticks_rotation="vertical" if self.class_names else "horizontal",
            im_kw={} if self.normalize is None else {"vmin": 0.0, "vmax": 1.0},
        )
        if path is not None:
            ax.figure.savefig(path)
        return ax.figure

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "normalize": self.normalize,
            "class_names": self.class_names,
        }
