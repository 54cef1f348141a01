"""The step that makes weights exactly zero."""

from typing import Any

import keras
from keras import ops

from keras_concepts._backend import learning_rate_of_update, running_optimizer
from keras_concepts._registration import serializable
from keras_concepts._types import Tensor
from keras_concepts._validation import checked_number


@serializable
class SoftThreshold(keras.constraints.Constraint):
    """Moves each weight towards zero after each update, but not past it.

    `w ← sign(w) * max(|w| - learning_rate * strength, 0)`

    This is the proximal step of the penalty `strength * sum(|w|)`: with it, SGD
    becomes iterative soft-thresholding (Daubechies et al. 2004; Parikh & Boyd
    2014, sections 4.2 and 6.5.2) and converges to the solution of the lasso,
    exact zeros included, whereas the gradient of an L1 regularizer only makes
    weights oscillate around zero. Use it instead of an L1 regularizer, not
    together with one.

    ```python
    layer = keras.layers.Dense(1, kernel_constraint=SoftThreshold(0.02))
    ```

    The learning rate is that of the optimizer at this update: it follows
    schedules, `ReduceLROnPlateau` and a second `compile`. With
    `gradient_accumulation_steps` the step is taken once for each actual update.
    Only the weight that the constraint is passed for is thresholded: a bias is
    not, unless you pass it as `bias_constraint`, too.

    Things to know:

    - `keras.losses.MeanSquaredError` is the mean of squares and scikit-learn's
      `Lasso` halves it: `SoftThreshold(2 * alpha)` solves `Lasso(alpha)`.
    - The step is exact for SGD without momentum. Adam and similar optimizers
      divide each coordinate's gradient by its own scale. The exact step would
      divide its threshold by the same scale, which a constraint cannot see:
      `learning_rate * strength` is an approximation. It still makes exact
      zeros, but of other weights at the same strength: tune the strength again.
    - `use_ema=True` replaces the weights by averages over the steps, in which
      hardly any exact zero survives.

    Args:
        strength: Factor of the penalty that the step belongs to, at least 0.
            Multiplied by the learning rate, it is how much a weight shrinks in
            one update.

    Raises:
        ValueError: `strength` is negative or not finite.
        RuntimeError: If it is called while no `keras.optimizers.Optimizer` is
            updating the weight.

    Example:

    >>> import numpy as np
    >>> kernel = keras.Variable(np.array([0.5, -0.25, 0.125], "float32"))
    >>> kernel.constraint = SoftThreshold(0.5)
    >>> optimizer = keras.optimizers.SGD(learning_rate=0.5)
    >>> optimizer.apply([keras.ops.zeros(3)], [kernel])
    >>> keras.ops.convert_to_numpy(kernel).tolist()
    [0.25, 0.0, 0.0]
    """

    def __init__(self, strength: float) -> None:
        self.strength = checked_number(
            "SoftThreshold", "strength", strength, low=0
        )

    def __call__(self, w: Tensor) -> Tensor:
        optimizer = running_optimizer()
        if optimizer is None:
            raise RuntimeError(
                "`SoftThreshold` is scaled by the learning rate of the "
                "optimizer that calls it, and no `keras.optimizers.Optimizer` "
                "is applying gradients. Pass it to a layer, as in "
                "`Dense(1, kernel_constraint=SoftThreshold(0.01))`, and train "
                "with a Keras optimizer. In a training loop without one call "
                "`soft_threshold(w, learning_rate * strength)` after each "
                "update."
            )
        rate = ops.cast(learning_rate_of_update(optimizer), w.dtype)
        return soft_threshold(w, rate * self.strength)

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength}


def soft_threshold(x: Tensor, threshold: Tensor) -> Tensor:
    """`sign(x) * max(|x| - threshold, 0)`, entry by entry.

    Args:
        x: Tensor of any shape.
        threshold: At least 0, of a shape that broadcasts to that of `x`.

    Example:

    >>> import numpy as np
    >>> x = np.array([2.0, -0.5, -1.5], "float32")
    >>> keras.ops.convert_to_numpy(soft_threshold(x, 1.0)).tolist()
    [1.0, 0.0, -0.5]
    """
    return ops.relu(x - threshold) - ops.relu(-x - threshold)
