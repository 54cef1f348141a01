"""Precision, recall and F1 of all classes in one pass."""

from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops

from keras_concepts._registration import serializable
from keras_concepts._shown_as_text import ShownText, printable
from keras_concepts._types import Tensor
from keras_concepts._validation import check_choice, check_probability
from keras_concepts.metrics import _scores
from keras_concepts.metrics._class_counts import ClassCounts
from keras_concepts.metrics._class_names import checked_class_names

SCORES = {
    "precision": _scores.precision,
    "recall": _scores.recall,
    "f1": _scores.fbeta,
}


@serializable
class ClassificationReport(ClassCounts):
    """Precision, recall and F1 of all classes, as a dict of numbers.

    The numbers are in the logs of `fit` under names that begin with the
    metric's, so that callbacks can use them: `report_accuracy`,
    `report_macro_precision`, `report_macro_recall`, `report_macro_f1`,
    `report_weighted_f1` and, with `class_names`, one such as `report_cat_f1`
    for each class; on validation data with the prefix `val_`. Where a row may
    have several classes, with a threshold or `top_k`, `report_micro_f1`
    replaces the accuracy. All are in `[0, 1]`, higher is better:

    ```python
    keras.callbacks.EarlyStopping("val_report_macro_f1", mode="max")
    ```

    Keras does not prefix the keys of a dict with the output's name: with two
    outputs, give each report its own `name`. Reports that share a name in a
    model are told apart as Keras does for other metrics:
    `weighted_report_macro_f1` for one in `weighted_metrics`, or the output's
    name first.

    Args:
        class_names: Names of the classes, in order: different strings or
            numbers.
        threshold: Probability above which a class is predicted, or one for each
            class. By default the class with the largest score is predicted.
        name: Name of the metric, and prefix of its keys.
        dtype: Dtype of the numbers.
        class_scores: What to log for each named class: some of `"precision"`,
            `"recall"` and `"f1"`. Each adds a number to the progress bar.
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
    >>> report = ClassificationReport(["cat", "dog"])
    >>> report.update_state(np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 0]])
    >>> round(float(report.result()["report_macro_f1"]), 4)
    0.7333
    >>> print(report.table())
                  precision    recall  f1-score   support
    <BLANKLINE>
             cat       0.67      1.00      0.80         2
             dog       1.00      0.50      0.67         2
    <BLANKLINE>
        accuracy                           0.75         4
       macro avg       0.83      0.75      0.73         4
    weighted avg       0.83      0.75      0.73         4
    <BLANKLINE>
    """

    def __init__(
        self,
        class_names: Sequence[str | int] | None = None,
        threshold: float | Sequence[float] | None = None,
        name: str | None = "report",
        dtype: Any = None,
        *,
        class_scores: Sequence[str] = ("f1",),
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
        if threshold is not None:
            check_probability("ClassificationReport", "threshold", threshold)
        if not isinstance(class_scores, list | tuple):
            raise TypeError(
                "`class_scores` of `ClassificationReport` must be a list of "
                f"names, such as ['f1']. Received: class_scores="
                f"{class_scores!r}."
            )
        for score in class_scores:
            check_choice(
                "ClassificationReport", "class_scores", score, tuple(SCORES)
            )
        # Before the base class, which builds if it has `num_classes`.
        self.class_names = checked_class_names(
            "ClassificationReport", class_names
        )
        self.class_scores = class_scores
        self._check_keys()
        super().__init__(
            name,
            dtype,
            threshold=threshold,
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

    def _check_keys(self) -> None:
        """Raises if the key of a class would hide that of an average."""
        averages = {f"macro_{score}" for score in SCORES}
        averages |= {"weighted_f1", "micro_f1"}
        for class_name in self.class_names or ():
            for score in self.class_scores:
                if f"{class_name}_{score}" in averages:
                    raise ValueError(
                        "`class_names` of `ClassificationReport` cannot "
                        f"contain {class_name!r}: `{class_name}_{score}` is "
                        "the key of an average. Rename the class, such as "
                        f"'{class_name}_class'."
                    )

    def _build(self, num_classes: int) -> None:
        shown = num_classes if self.class_ids is None else len(self.class_ids)
        if self.class_names is not None and len(self.class_names) != shown:
            raise ValueError(
                "`class_names` of `ClassificationReport` must name each of the "
                f"{shown} classes. Received: class_names="
                f"{self.class_names}."
            )
        super()._build(num_classes)

    def result(self) -> dict[str, Tensor]:
        name = self._name_in_logs
        result = {f"{name}_{self._overall_key}": self._overall()}
        by_class = {score: self._by_class(score) for score in SCORES}
        for score, values in by_class.items():
            result[f"{name}_macro_{score}"] = self._average(values, "macro")
        weighted = self._average(by_class["f1"], "weighted")
        result[f"{name}_weighted_f1"] = weighted
        for number, class_name in enumerate(self.class_names or ()):
            for score in self.class_scores:
                value = by_class[score][number]
                result[f"{name}_{class_name}_{score}"] = value
        return self._cast_each(result)

    def _by_class(self, score: str) -> Tensor:
        return SCORES[score](*self._totals(), self.zero_division)

    def _pooled(self, score: str) -> Tensor:
        totals = [ops.sum(counts) for counts in self._totals()]
        return SCORES[score](*totals, self.zero_division)

    def _overall(self) -> Tensor:
        # Where one class is predicted for each row, precision is the accuracy.
        accuracy = self._overall_key == "accuracy"
        return self._pooled("precision" if accuracy else "f1")

    @property
    def _overall_key(self) -> str:
        one_each = (
            self.threshold is None
            and self.top_k in (None, 1)
            and self.class_ids is None
            and self._words().shape[2] > 1
        )
        return "accuracy" if one_each else "micro_f1"

    def table(self, digits: int = 2) -> str:
        """All scores as text, like scikit-learn's `classification_report`.

        Args:
            digits: Digits after the decimal point.
        """
        counts = [keras.ops.convert_to_numpy(c) for c in self._totals()]
        support = counts[2]
        if (support == support.round()).all():
            support = support.astype("int64")
        ids = range(len(support)) if self.class_ids is None else self.class_ids
        names = [*map(printable, self.class_names or map(str, ids))]
        values = [self._by_class(score) for score in SCORES]
        columns = [keras.ops.convert_to_numpy(column) for column in values]
        lines = [
            (class_name, *map(float, scores), count)
            for class_name, *scores, count in zip(
                names, *columns, support, strict=True
            )
        ]
        total = support.sum()
        overall: list[Any] = ["accuracy", "", "", float(self._overall()), total]
        if self._overall_key != "accuracy":
            pooled = [float(self._pooled(score)) for score in SCORES]
            overall = ["micro avg", *pooled, total]
        averages = [overall]
        for average in ("macro", "weighted"):
            means = [float(self._average(v, average)) for v in values]
            averages.append([f"{average} avg", *means, total])
        return ShownText(_table(lines, averages, digits))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["average"]
        return {
            **config,
            "class_names": self.class_names,
            "class_scores": self.class_scores,
        }


def _table(lines: list[Any], averages: list[Any], digits: int) -> str:
    width = max(*(len(name) for name, *_ in lines), len("weighted avg"), digits)

    def line(name: str, *cells: Any) -> str:
        texts = [
            f"{cell:.{digits}f}" if isinstance(cell, float) else str(cell)
            for cell in cells
        ]
        return f"{name:>{width}} " + "".join(f" {text:>9}" for text in texts)

    header = line("", "precision", "recall", "f1-score", "support")
    blocks = [
        [header],
        [line(*cells) for cells in lines],
        [line(*cells) for cells in averages],
    ]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"
