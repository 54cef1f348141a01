"""The Tversky index, including Dice and Jaccard, as an objective."""

from typing import Any

from keras_concepts._registration import serializable
from keras_concepts._validation import checked_number
from keras_concepts.losses._class_loss import Form
from keras_concepts.losses._overlap import OverlapLoss


@serializable
class Tversky(OverlapLoss):
    r"""One minus the Tversky index, averaged over classes.

    For each class, with sums over predictions `p`, labels `y` and weights `w`:

    $$L = 1 - \frac{TP + s}{TP + \alpha FP + \beta FN + s} \qquad
        TP = \sum w\, y\, p \quad FP = \sum w (1 - y)\, p \quad
        FN = \sum w\, y (1 - p)$$

    With `alpha=beta=0.5`, the default, this is the Dice loss; with both 1 it is
    one minus the Jaccard index (IoU). `beta > alpha` favours recall.

    Masks, `ignore_class` and sample weights act inside the sums: an entry of
    weight 2 is the same as two entries. A class without positive labels in the
    sums has an index of 0 for every prediction above 0, and no gradient; it is
    left out of the mean, and the loss is 0 if no class is left. With
    `smooth > 0` such a class counts, with a loss of `αFP / (αFP + s)`.

    The loss of a large batch is not the mean of the losses of its parts, and
    under `tf.distribute` each replica computes the loss of its own part.

    Args:
        alpha: Cost of a false positive, at least 0.
        beta: Cost of a false negative, at least 0.
        reduction: As in any Keras loss, over classes or samples. Means are over
            those that count.
        name: Name of the loss.
        axis: The axis of the classes in `y_pred`.
        dtype: Dtype of the result. Half precision is computed in float32.
        from_logits: Whether `y_pred` holds logits. Default: probabilities.
        binary: Whether each class is a separate yes-or-no question, answered by
            a sigmoid.
        over: What the sums run over: `"batch"`, every axis except that of the
            classes; or `"sample"`, the axes within each sample, as for images
            or sequences. There the loss of a sample is the mean over its
            classes, and sample weights of one number per sample multiply it.
        smooth: Added to numerator and denominator, at least 0.
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
        >>> y_true = np.array([0, 0, 1])
        >>> y_pred = np.array([[9, 1, 0], [6, 4, 0], [2, 8, 0]]) / 10
        >>> round(float(Tversky()(y_true, y_pred)), 4)
        0.2468
        >>> recall = Tversky(alpha=0.3, beta=0.7, reduction=None)
        >>> [round(float(loss), 4) for loss in recall(y_true, y_pred)]
        [0.2147, 0.2661, 0.0]

        ```

    Reference:
        Salehi et al., [Tversky loss function for image
        segmentation](https://arxiv.org/abs/1706.05721), equation 3. Dice:
        Milletari et al., [V-Net](https://arxiv.org/abs/1606.04797).
    """

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str = "tversky",
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
        self.alpha = checked_number("Tversky", "alpha", alpha, low=0)
        self.beta = checked_number("Tversky", "beta", beta, low=0)

    def _costs(self) -> tuple[float, float]:
        return self.alpha, self.beta

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}
