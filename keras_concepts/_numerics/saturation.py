"""When a unit counts as saturated, the same for all components here.

Source: Amazon SageMaker Debugger's rules for saturated activations, which are
for tanh and sigmoid.
"""

from collections.abc import Callable

from keras import ops

from keras_concepts._types import Tensor

# Its slope is below this share of the steepest ...
FLAT = 0.05
# ... in more than this share of the samples.
MOSTLY = 0.9

# Relative slope, computed from the output: a layer that only sees activations
# needs no derivative for it. `activation_slopes` derives that of any other
# function, from its input.
SLOPE_OF_OUTPUT: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": lambda a: ops.minimum(a, 0.0) + 1.0,
    "relu": lambda a: ops.cast(a > 0.0, "float32"),
    "sigmoid": lambda a: 4.0 * a * (1.0 - a),
    "softplus": lambda a: 1.0 - ops.exp(-a),
    "softsign": lambda a: ops.square(1.0 - ops.abs(a)),
    "tanh": lambda a: 1.0 - ops.square(a),
}
