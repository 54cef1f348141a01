"""Focal loss, categorical and binary."""

from typing import Any

import numpy as np
from keras import ops

from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_number
from keras_concepts.losses._class_loss import EntryLoss, Form
from keras_concepts.losses._class_weights import (
    ClassWeights,
    as_tensor,
    plain,
)
from keras_concepts.losses._log_probabilities import (
    log_softmax_and_rest,
    multiply_no_nan,
)


def binary_focal(
    targets: Tensor,
    logits: Tensor,
    gamma: float,
    positive: float | Tensor = 1.0,
    negative: float | Tensor = 1.0,
) -> Tensor:
    """For each logit, `-a y (1-p)^γ log p - b (1-y) p^γ log(1-p)`."""
    minus_log_p, minus_log_q = ops.softplus(-logits), ops.softplus(logits)
    yes = positive * targets * ops.exp(-gamma * minus_log_q) * minus_log_p
    no = negative * (1.0 - targets) * ops.exp(-gamma * minus_log_p)
    return yes + no * minus_log_q


def categorical_focal(targets: Tensor, logits: Tensor, gamma: float) -> Tensor:
    """For each class, its term `-y (1-p)^γ log p` in the sum."""
    log_p, log_rest = log_softmax_and_rest(logits)
    # For an impossible class, 0 times `-inf` would make the gradient NaN.
    log_p = ops.where(ops.equal(targets, 0), ops.zeros_like(log_p), log_p)
    return -multiply_no_nan(targets, ops.exp(gamma * log_rest) * log_p)


@serializable
class FocalCrossEntropy(EntryLoss):
    r"""Cross-entropy that focuses on hard examples rather than easy ones.

    One class out of C, with `p` the softmax of the logits:

    $$L = -\sum_c \alpha_c\, y_c (1 - p_c)^\gamma \log p_c$$

    Yes or no for each of C questions (`binary=True`), with `p` the sigmoid:

    $$L = -\frac{1}{C} \sum_c \left(\alpha_c\, y_c (1 - p_c)^\gamma \log p_c
        + (1 - \alpha_c) (1 - y_c)\, p_c^\gamma \log(1 - p_c)\right)$$

    Powers are taken in log space, `(1-p)^γ = exp(γ log(1-p))`, and a small
    `1 - p` is never computed by subtracting from 1. A confident mistake
    therefore keeps its gradient, at every `gamma` from 0 on. Labels,
    probabilities, masks, weights and means are as in
    `keras_concepts.losses.CrossEntropy`.

    Args:
        alpha: Balance of the classes. Categorical: the weight of every class,
            or a list of C numbers. Binary: the weight of a positive label,
            from 0 to 1, while a negative one has `1 - alpha`; or such a list.
            A dict from class to number may leave out classes of weight 1.
            Default: every weight is 1.
            `keras.losses.CategoricalFocalCrossentropy` has 0.25, a factor of
            the whole loss.
        gamma: Focus, at least 0. At 0 the loss is the cross-entropy.
        from_logits: Whether `y_pred` holds logits. Default: probabilities.
        label_smoothing: From 0 to 1: the share of each label that is spread
            evenly over all classes, or over yes and no.
        axis: The axis of the classes in `y_pred`.
        reduction: As in any Keras loss.
        name: Name of the loss.
        dtype: Dtype of the result. Half precision is computed in float32.
        binary: Whether each class is a separate yes-or-no question, answered by
            a sigmoid.
        ignore_class: Label whose entries do not count, such as -1 or `nan`.
            Needs class numbers, or `binary=True`, where it leaves out single
            entries.
        labels: What `y_true` holds: `"sparse"`, class numbers; `"dense"`, a
            label for each class; or `"auto"`, inferred from its shape. On
            TensorFlow the shape may be unknown: then pass one of the first two.

    Input shape:
        As for `keras_concepts.losses.CrossEntropy`.

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
        >>> loss = FocalCrossEntropy(from_logits=True, reduction=None)
        >>> [round(float(x), 4) for x in loss(np.array([0, 2]), logits)]
        [0.0041, 0.4883]

        ```

    Reference:
        Lin et al., [Focal Loss for Dense Object
        Detection](https://arxiv.org/abs/1708.02002), equations 4 and 5.
    """

    def __init__(
        self,
        alpha: ClassWeights | None = None,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str = "focal_cross_entropy",
        dtype: Any = None,
        *,
        binary: bool = False,
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
        self.gamma = checked_number("FocalCrossEntropy", "gamma", gamma, low=0)
        self.alpha = plain("FocalCrossEntropy", "alpha", alpha)
        if binary and self.alpha is not None:
            shares = self.alpha
            if isinstance(shares, dict):
                shares = list(shares.values())
            highest = float(np.max(shares))
            _ = checked_number(
                "FocalCrossEntropy", "alpha", highest, low=0, high=1
            )

    def _terms(self, targets: Tensor, logits: Tensor) -> Tensor:
        if self.alpha is None and self.binary:
            return binary_focal(targets, logits, self.gamma)
        if self.alpha is None:
            return categorical_focal(targets, logits, self.gamma)
        alpha = as_tensor("FocalCrossEntropy", "alpha", self.alpha, logits)
        if self.binary:
            return binary_focal(targets, logits, self.gamma, alpha, 1.0 - alpha)
        return alpha * categorical_focal(targets, logits, self.gamma)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha": self.alpha,
            "gamma": self.gamma,
        }
