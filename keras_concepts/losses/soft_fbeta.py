"""The F-beta score as an objective."""

from typing import Any

from keras_concepts._registration import serializable
from keras_concepts._validation import checked_beta
from keras_concepts.losses._class_loss import Form
from keras_concepts.losses._overlap import OverlapLoss


@serializable
class SoftFBeta(OverlapLoss):
    r"""One minus the F-beta score of probabilities, averaged over classes.

    For each class, with sums over predictions `p`, labels `y` and weights `w`:

    $$L = 1 - \frac{(1 + \beta^2)\, TP}{(1 + \beta^2)\, TP + FP +
        \beta^2 FN} \qquad
        TP = \sum w\, y\, p \quad FP = \sum w (1 - y)\, p \quad
        FN = \sum w\, y (1 - p)$$

    For predictions of exactly 0 and 1 it is one minus the score itself. It is
    the `keras_concepts.losses.Tversky` loss with `alpha = 1 / (1 + beta²)` and
    `beta = beta² / (1 + beta²)`, and treats weights, masks, absent classes,
    batches and replicas as described there.

    Args:
        beta: How many times recall matters as much as precision, above 0.
        reduction: As in any Keras loss, over classes or samples. Means are over
            those that count.
        name: Name of the loss.
        axis: The axis of the classes in `y_pred`.
        dtype: Dtype of the result. Half precision is computed in float32.
        from_logits: Whether `y_pred` holds logits. Default: probabilities.
        binary: Whether each class is a separate yes-or-no question, answered by
            a sigmoid.
        over: What the sums run over: `"batch"`, every axis except that of the
            classes; or `"sample"`, the axes within each sample.
        smooth: `s` in `keras_concepts.losses.Tversky`, at least 0.
        ignore_class: Label whose entries do not count, such as -1 or `nan`.
            Needs class numbers, or `binary=True`, where it leaves out single
            entries.
        labels: What `y_true` holds: `"sparse"`, class numbers; `"dense"`, a
            label for each class; or `"auto"`, inferred from its shape. On
            TensorFlow the shape may be unknown: then pass one of the first two.

    Input shape:
        As for `keras_concepts.losses.CrossEntropy`; with `over="sample"`, at
        least one axis between samples and classes.

    Output shape:
        A scalar from 0 to 1, lower is better. Without reduction, one loss per
        class, `(C,)`; with `over="sample"` one per sample, `(n,)`.

    Raises:
        ValueError: If an argument or a shape does not fit; if a label is out of
            range, where labels can be read: in eager execution on a CPU.
            Elsewhere, as in a compiled step, the loss becomes NaN;
            `loss(y_true, model(x))` on a batch then gives the reason.

    Warns:
        UserWarning: If predictions can be read and are not probabilities, for
            example logits without `from_logits=True`. The loss is then NaN, in
            a compiled step too.

    Example:
        ```pycon
        >>> import numpy as np
        >>> y_true, y_pred = np.array([1, 1, 0]), np.array([0.9, 0.3, 0.2])
        >>> round(float(SoftFBeta(binary=True)(y_true, y_pred)), 4)
        0.2941
        >>> round(float(SoftFBeta(beta=2.0, binary=True)(y_true, y_pred)), 4)
        0.3617

        ```

    Reference:
        van Rijsbergen, *Information Retrieval* (1979), chapter 7: the measure
        E, which is one minus the F-beta score.
    """

    def __init__(
        self,
        beta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str = "soft_fbeta",
        axis: int = -1,
        dtype: Any = None,
        *,
        from_logits: bool = False,
        binary: bool = False,
        over: str = "batch",
        smooth: float = 0.0,
        ignore_class: float | None = None,
        labels: Form = "auto",
    ) -> None:
        super().__init__(
            over=over,
            smooth=smooth,
            from_logits=from_logits,
            axis=axis,
            binary=binary,
            ignore_class=ignore_class,
            labels=labels,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        self.beta = checked_beta("SoftFBeta", beta)

    def _costs(self) -> tuple[float, float]:
        square = self.beta**2
        return 1 / (1 + square), square / (1 + square)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta": self.beta}
