"""Cross-entropy, categorical and binary."""

from typing import Any

from keras import ops

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts.losses._class_loss import EntryLoss, Form
from keras_concepts.losses._class_weights import (
    ClassWeights,
    as_tensor,
    listed,
    plain,
)
from keras_concepts.losses._log_probabilities import multiply_no_nan


def binary_cross_entropy(
    targets: Tensor,
    logits: Tensor,
    positive: float | Tensor = 1.0,
    negative: float = 1.0,
) -> Tensor:
    """For each logit, `-a y log p - b (1 - y) log(1 - p)`."""
    yes = positive * targets * ops.softplus(-logits)
    return yes + negative * (1.0 - targets) * ops.softplus(logits)


def categorical_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """For each class, its term `-y log p` in the sum over the last axis."""
    return -multiply_no_nan(targets, ops.log_softmax(logits, axis=-1))


@serializable
class CrossEntropy(EntryLoss):
    r"""Cross-entropy for class numbers and for one-hot, soft or binary labels.

    One class out of C, with `p` the softmax of the logits:

    $$L = -\sum_c w_c\, y_c \log p_c$$

    Yes or no for each of C questions (`binary=True`), with `p` the sigmoid:

    $$L = -\frac{1}{C} \sum_c w_c
        \left(w^+_c y_c \log p_c + (1 - y_c) \log(1 - p_c)\right)$$

    Both are computed from logits, in log space. Probabilities `p` are first
    turned into logits, `log p` or `log p - log(1 - p)`, so categorical ones are
    normalized. To keep loss and gradient finite, a probability of exactly 0
    counts as 1e-30, and where `1 - p` is needed, a probability of 1 counts as
    `1 - 2⁻²⁵`. Only the values of `y_pred` are used, on every backend; on
    TensorFlow, Keras' losses look for the logits behind them. A saturated
    softmax or sigmoid passes no gradient back: prefer logits.

    Entries that are masked by Keras or labelled `ignore_class` do not count.
    Means are over the entries that count, `sum(weight * loss) / sum(counted)`:
    sample weights do not enter the divisor, unless
    `reduction="mean_with_sample_weight"`. On JAX, masks do not reach a loss in
    `fit`: use `ignore_class` or sample weights.

    Args:
        from_logits: Whether `y_pred` holds logits. Default: probabilities.
        label_smoothing: From 0 to 1: the share of each label that is spread
            evenly over all classes, or over yes and no.
        axis: The axis of the classes in `y_pred`.
        reduction: As in any Keras loss.
        name: Name of the loss.
        dtype: Dtype of the result. Half precision is computed in float32.
        binary: Whether each class is a separate yes-or-no question, answered by
            a sigmoid.
        class_weights: Weight of each class `w_c`: a list of C numbers, or a
            dict from class to number as for `fit(class_weight=...)`, with 1 for
            classes that it leaves out. For a single column with `binary=True`,
            a dict weights the labels 0 and 1. Class weights multiply the terms
            of the sum, not the divisor of the mean. A loss cannot balance
            classes by itself, because it sees one batch at a time: for weights
            like scikit-learn's `"balanced"`, pass
            `len(y) / (classes * numpy.bincount(y))` for all labels `y`.
        pos_weight: Weight of a positive label `w⁺`, one number or one for each
            class. Values above 1 raise recall. Only with `binary=True`.
        ignore_class: Label whose entries do not count, such as -1 or `nan`.
            Needs class numbers, or `binary=True`, where it leaves out single
            entries.
        labels: What `y_true` holds: `"sparse"`, class numbers; `"dense"`, a
            label for each class; or `"auto"`, inferred from its shape. On
            TensorFlow the shape may be unknown: then pass one of the first two.

    Input shape:
        `y_pred`: `(..., C)`. `y_true`: class numbers `(...)` or `(..., 1)`, or
        distributions `(..., C)`. With `binary=True`, `y_true` has the shape of
        `y_pred`, but may lack a last axis of length 1. `sample_weight`: a
        scalar, or `(n,)`, `(n, 1)` up to `(...)`.

    Output shape:
        A scalar of at least 0, lower is better; without reduction, `(...)`.

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
        >>> logits = np.array([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]], "float32")
        >>> loss = CrossEntropy(from_logits=True)
        >>> round(float(loss(np.array([0, 2]), logits)), 4)
        0.6342
        >>> loss = CrossEntropy(from_logits=True, ignore_class=-1)
        >>> round(float(loss(np.array([-1, 2]), logits)), 4)
        1.0986
        >>> loss = CrossEntropy(binary=True, pos_weight=3.0)
        >>> round(float(loss(np.array([1, 0]), np.array([0.5, 0.5]))), 4)
        1.3863

        ```

    Reference:
        Label smoothing: Szegedy et al., [Rethinking the Inception
        Architecture](https://arxiv.org/abs/1512.00567), section 7.
    """

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "cross_entropy",
        dtype: Any = None,
        *,
        binary: bool = False,
        class_weights: ClassWeights | None = None,
        pos_weight: ClassWeights | None = None,
        ignore_class: float | None = None,
        labels: Form = "auto",
    ) -> None:
        super().__init__(
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
            binary=binary,
            ignore_class=ignore_class,
            labels=labels,
        )
        if pos_weight is not None and not binary:
            raise ValueError(
                "`pos_weight` of `CrossEntropy` needs `binary=True`; "
                "`class_weights` weigh the classes of a softmax. "
                f"Received: pos_weight={pos_weight!r}."
            )
        self.class_weights = plain(
            "CrossEntropy", "class_weights", class_weights
        )
        self.pos_weight = plain("CrossEntropy", "pos_weight", pos_weight)

    def _terms(self, targets: Tensor, logits: Tensor) -> Tensor:
        owner, weights = "CrossEntropy", self.class_weights
        if self.binary:
            positive = negative = 1.0
            if isinstance(weights, dict) and logits.shape[-1] == 1:
                # As in `fit`, the classes of a single unit are no and yes.
                negative, positive = listed(owner, "class_weights", weights, 2)
                weights = None
            if self.pos_weight is not None:
                positive = positive * as_tensor(
                    owner, "pos_weight", self.pos_weight, logits
                )
            terms = binary_cross_entropy(targets, logits, positive, negative)
        else:
            terms = categorical_cross_entropy(targets, logits)
        if weights is None:
            return terms
        return terms * as_tensor(owner, "class_weights", weights, terms)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_weights": self.class_weights,
            "pos_weight": self.pos_weight,
        }
