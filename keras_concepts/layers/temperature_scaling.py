"""Calibrated probabilities from one number."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_concepts._labels.shapes import form_of
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_number

# Published temperatures lie between 1 and 5.
_LOWEST, _HIGHEST = 0.01, 100.0
_SUM_TOLERANCE = 1e-3


@serializable
class TemperatureScaling(keras.layers.Layer):
    r"""Divides logits by one temperature, which is learned on held-out data.

    $$p = \operatorname{softmax}(z / T) \qquad T = \arg\min_T
        -\sum_i w_i \sum_c y_{ic} \log p_{ic}$$

    Trained networks tend to be more confident than accurate. A temperature
    above 1 lowers the confidence of every prediction and one below 1 raises it;
    the order of the classes, and so the accuracy, stays the same. Use it before
    the softmax or sigmoid of a trained model:

    ```python
    scaling = TemperatureScaling()
    scaling.fit(net.predict(x_val), y_val)  # `net` ends in logits
    calibrated = keras.Sequential([net, scaling, keras.layers.Softmax()])
    ```

    The temperature is a weight that is saved with the model but not trained by
    an optimizer: on the training data the best temperature is too low.

    One number cannot correct every error. It does not shift logits, so a bias
    towards one class, for example from class weights, stays.

    Args:
        initial: Temperature before `fit`, above 0.
        kwargs: Arguments of `keras.layers.Layer`.

    Input shape:
        Logits of any shape.

    Output shape:
        Same as the input.

    Raises:
        ValueError: `initial` is not above 0.

    Source: Guo, Pleiss, Sun and Weinberger (2017), *On calibration of modern
    neural networks*, section 4.2.

    Example:

    >>> logits = np.array([[2.0], [2.0], [2.0], [-2.0]])
    >>> scaling = TemperatureScaling()
    >>> round(scaling.fit(logits, [1, 1, 0, 0]), 4)  # 2 / log(3)
    1.8205
    >>> y = keras.ops.sigmoid(scaling(logits[:1]))
    >>> round(float(y[0, 0]), 4)
    0.75
    """

    def __init__(self, initial: float = 1.0, **kwargs: Any) -> None:
        initial = checked_number(
            "TemperatureScaling", "initial", initial, above=0.0
        )
        super().__init__(**kwargs)
        self.initial = initial
        self.supports_masking = True
        self.temperature = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(initial),
            trainable=False,
            name="temperature",
        )

    def call(self, inputs: Tensor) -> Tensor:
        """Logits divided by the temperature."""
        return inputs / self.temperature

    def fit(self, logits: Any, labels: Any, sample_weight: Any = None) -> float:
        """Sets the temperature that minimizes the cross-entropy.

        The only minimum is found with Newton's method, in float64 on the host.
        If each row's largest logit is that of its label, there is no minimum
        and the temperature stops at 0.01; if the logits are worse than
        uninformative about the labels, it stops at 100. Both give a warning.

        Args:
            logits: Logits of data the model was not trained on: `(..., C)` for
                a softmax, or `(..., 1)` for a sigmoid.
            labels: Class numbers `(...)` or `(..., 1)`, or distributions
                `(..., C)`.
            sample_weight: One weight of at least 0 for each label, `(...)` or
                `(..., 1)`.

        Returns:
            The temperature.

        Raises:
            ValueError: Shapes do not fit, or there are no rows; logits or
                weights are not finite; labels are neither classes nor
                distributions; weights are negative or all 0.
        """
        scores = _logits(logits)
        targets = _targets(labels, scores.shape)
        weights = _weights(sample_weight, scores.shape)
        classes = scores.shape[-1]
        if classes == 1:  # a sigmoid is the softmax of `[0, logit]`
            scores = np.concatenate([np.zeros_like(scores), scores], axis=-1)
            targets = np.concatenate([1.0 - targets, targets], axis=-1)
            classes = 2
        temperature = best_temperature(
            scores.reshape(-1, classes), targets.reshape(-1, classes), weights
        )
        if temperature in (_LOWEST, _HIGHEST):
            warnings.warn(_at_bound(temperature), stacklevel=2)
        self.temperature.assign(temperature)
        return temperature

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Same as that of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial}


def best_temperature(
    logits: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> float:
    """The temperature from 0.01 to 100 with the lowest cross-entropy.

    Args:
        logits: `(n, C)` in float64.
        targets: A distribution for each row, `(n, C)`.
        weights: `(n,)`.
    """
    # In b = 1 / T the cross-entropy is convex. Its slope is the mean logit
    # under the model minus that under the labels, its curvature the variance.
    logits = logits - logits.max(axis=1, keepdims=True)
    true = weights @ (targets * logits).sum(axis=1)

    def slope_and_curvature(b: float) -> tuple[float, float]:
        p = np.exp(b * logits)
        p /= p.sum(axis=1, keepdims=True)
        mean = (p * logits).sum(axis=1)
        variance = (p * (logits - mean[:, np.newaxis]) ** 2).sum(axis=1)
        return weights @ mean - true, weights @ variance

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    if slope_and_curvature(low)[0] >= 0.0:
        return _HIGHEST
    if slope_and_curvature(high)[0] <= 0.0:
        return _LOWEST
    b = 1.0
    for _ in range(100):
        slope, curvature = slope_and_curvature(b)
        low, high = (b, high) if slope < 0.0 else (low, b)
        step = b - slope / curvature if curvature > 0.0 else high
        if not low < step < high:
            step = np.sqrt(low * high)
        b, last = step, b
        if abs(b - last) <= 1e-12 * b:
            break
    return float(1 / b)


def _logits(logits: Any) -> np.ndarray:
    scores = keras.ops.convert_to_numpy(logits).astype("float64")
    if scores.ndim < 2 or not scores.size:
        raise ValueError(
            "`logits` of `TemperatureScaling.fit` must have at least one row "
            "and a last axis of classes, `(..., C)`. Received: logits of shape "
            f"{scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            "`logits` of `TemperatureScaling.fit` must be finite. Received: "
            f"{np.sum(~np.isfinite(scores))} of {scores.size} that are not."
        )
    return scores


def _targets(labels: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A distribution over the classes for each label, in `shape`."""
    labels = keras.ops.convert_to_numpy(labels).astype("float64")
    classes = shape[-1]
    form = form_of(labels.shape, shape)
    if form is None:
        raise ValueError(
            "`labels` of `TemperatureScaling.fit` must be class numbers "
            "`(...)` or `(..., 1)`, or distributions `(..., C)`, for logits "
            f"`(..., C)`. Received: labels of shape {labels.shape} and logits "
            f"of shape {shape}."
        )
    if form == "sparse":
        targets = labels.reshape(*shape[:-1], 1) == np.arange(classes)
        valid = targets.any(axis=-1)
        needed = f"be integers from 0 to {classes - 1}"
    elif classes == 1:
        targets = labels.reshape(shape)
        valid = (targets >= 0.0) & (targets <= 1.0)
        needed = "lie between 0 and 1"
    else:
        targets = labels
        off = np.abs(targets.sum(axis=-1) - 1.0)
        valid = (targets >= 0.0).all(axis=-1) & (off <= _SUM_TOLERANCE)
        needed = "be class numbers, or at least 0 and sum to 1 in each row"
    if not valid.all():
        raise ValueError(
            f"`labels` of `TemperatureScaling.fit` must {needed}. Received: "
            f"{np.sum(~valid)} that are not."
        )
    return targets


def _weights(sample_weight: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A weight for each label, `(n,)`; they sum to 1."""
    if sample_weight is None:
        sample_weight = np.ones(shape[:-1])
    weights = keras.ops.convert_to_numpy(sample_weight).astype("float64")
    if weights.shape not in (shape[:-1], (*shape[:-1], 1)):
        raise ValueError(
            "`sample_weight` of `TemperatureScaling.fit` must hold one weight "
            f"for each label. Received: sample_weight of shape {weights.shape} "
            f"and logits of shape {shape}."
        )
    if not (np.isfinite(weights).all() and weights.min() >= 0 < weights.max()):
        raise ValueError(
            "`sample_weight` of `TemperatureScaling.fit` must be finite, at "
            "least 0, and not all 0. Received: weights from "
            f"{weights.min()} to {weights.max()}."
        )
    return weights.ravel() / weights.sum()


def _at_bound(temperature: float) -> str:
    reason = (
        "each row's largest logit is that of its label, or nearly so: a lower "
        "temperature would be better still. Fit on more held-out data, "
        "including some that the model gets wrong"
        if temperature == _LOWEST
        else "the logits do not predict the labels, or predict the opposite"
    )
    return (
        f"`TemperatureScaling.fit` stopped at a temperature of {temperature}, "
        f"since {reason}."
    )
