"""The confusion matrix, the count of each pair of classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._figures import new_figure
from keras_concepts._labels.class_amounts import Indices
from keras_concepts._labels.rows import Rows
from keras_concepts._numerics.exact_sum import ExactSum
from keras_concepts._numerics.words import total_of
from keras_concepts._registration import serializable
from keras_concepts._shown_as_text import literal
from keras_concepts._validation import check_choice
from keras_concepts.metrics import _scores
from keras_concepts.metrics._agreement import Agreement
from keras_concepts.metrics._class_names import checked_class_names
from keras_concepts.metrics._counting import count, count_unknown

# A matrix of this many classes takes 2 or 3 GB.
_MOST_CLASSES = 1 << 14


@serializable
class ConfusionMatrix(Agreement):
    """How often each class was predicted as each class.

    Row i, column j holds the number of rows of class i that were predicted as
    class j, as in `sklearn.metrics.confusion_matrix`. Memory is one
    float64 per cell, or three float32: 2 to 3 GB for 16,384 classes, the most
    allowed.

    In `fit` and `evaluate` the matrix is not logged: Keras would print the mean
    of its cells on the progress bar. Keep the metric object, and call its
    `result()` or `plot()` afterwards, or in a callback at the end of an epoch.
    Use `ClassificationReport` for numbers that callbacks can monitor.

    Args:
        normalize: `None`, counts; `"true"`, shares of each row; `"pred"`,
            shares of each column; `"all"`, shares of everything.
        class_names: Names of the classes, for `plot`: different strings or
            numbers.
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
    >>> matrix = ConfusionMatrix()
    >>> matrix.update_state(np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]])
    >>> [[float(cell) for cell in row] for row in matrix.result()]
    [[2.0, 0.0], [1.0, 1.0]]
    """

    def __init__(
        self,
        normalize: Literal["true", "pred", "all"] | None = None,
        class_names: Sequence[str | int] | None = None,
        threshold: float | None = None,
        name: str | None = "confusion_matrix",
        dtype: Any = None,
        *,
        num_classes: int | None = None,
        labels: Literal["auto", "sparse", "dense"] = "auto",
        from_logits: bool = False,
        ignore_class: float | None = None,
        axis: int = -1,
        use_mask: bool = True,
    ) -> None:
        # Before the base class, which builds if it has `num_classes`.
        self.class_names = checked_class_names("ConfusionMatrix", class_names)
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
        check_choice(
            "ConfusionMatrix",
            "normalize",
            normalize,
            (None, "true", "pred", "all"),
        )
        self.normalize = normalize

    def _build(self, num_classes: int) -> None:
        if num_classes > _MOST_CLASSES:
            raise ValueError(
                "`num_classes` of `ConfusionMatrix` must be at most "
                f"{_MOST_CLASSES}: the matrix would take "
                f"{8e-9 * num_classes**2:.0f} GB. `F1Score(average=None)` and "
                "`ClassificationReport` take a few numbers per class. "
                f"Received: num_classes={num_classes}."
            )
        shown = None if self.class_names is None else len(self.class_names)
        if shown not in (None, num_classes):
            raise ValueError(
                "`class_names` of `ConfusionMatrix` must name each of the "
                f"{num_classes} classes. Received: "
                f"class_names={self.class_names}."
            )
        self._counts = ExactSum(self, "counts", (num_classes * num_classes,))

    def _add(self, rows: Rows, labels: Indices, predictions: Indices) -> None:
        # Rows without a class have no prediction either.
        row = ops.maximum(labels.numbers, 0) * labels.num_classes
        cells = Indices(row + predictions.numbers, labels.num_classes**2)
        count(self._counts, rows.weighted(cells))
        count_unknown(self._counts, rows)

    def result(self) -> Any:
        if _backend.name_in_logs(self) is not None:
            self._read_alarms()
            return {}
        cells = total_of(self._words(), self._computing)
        size = round(cells.shape[0] ** 0.5)
        matrix = ops.reshape(cells, (size, size))
        if self.normalize is not None:
            axis = {"true": 1, "pred": 0, "all": None}[self.normalize]
            total = ops.sum(matrix, axis=axis, keepdims=True)
            matrix = _scores.ratio(matrix, total, 0.0)
        return self._cast(matrix)

    def plot(self, path: str | Path | None = None, ax: Any = None) -> Any:
        """Draws the matrix, with its numbers if they fit.

        Needs the extra `keras-concepts[plot]`.

        Args:
            path: File to save the figure to instead of showing it.
            ax: matplotlib axes to draw on instead of a new figure.

        Returns:
            The matplotlib figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        matrix = keras.ops.convert_to_numpy(self.result())
        size = len(matrix)
        if ax is None:
            inches = max(4.0, 0.5 * size + 2)
            figure = new_figure(inches + 1, inches, shown=path is None)
            ax = figure.add_subplot()
        highest = matrix.max() if self.normalize is None else 1.0
        image = ax.imshow(matrix, cmap="Blues", vmin=0.0, vmax=highest)
        _ = ax.figure.colorbar(image, ax=ax)
        _ = ax.set(xlabel="predicted class", ylabel="true class")
        names = [
            literal(str(name)) for name in (self.class_names or range(size))
        ]
        if size <= 20 or self.class_names:
            ax.set_yticks(range(size), names)
            vertical = {"rotation": "vertical"} if self.class_names else {}
            ax.set_xticks(range(size), names, **vertical)
        whole = (matrix == matrix.round()).all() and self.normalize is None
        for (row, column), value in (
            np.ndenumerate(matrix) if size <= 20 else ()
        ):
            ax.text(
                column,
                row,
                f"{value:.0f}" if whole else f"{value:.2f}",
                ha="center",
                va="center",
                color="white" if value > highest / 2 else "black",
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
