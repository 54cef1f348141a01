"""Names for what the type checker cannot know."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

# Keras ships no type information and a tensor is a `tf.Tensor`, a `jax.Array`
# or a `torch.Tensor`: there is no common class to name.
Tensor: TypeAlias = Any

# Runs a training step inside its own context. Takes the batch, the values of
# the trainable variables before the step, and pairs of the other variables and
# their values; values are `None` where the variables hold them. The step puts
# the values after it into the list that it gets.
Observe: TypeAlias = Callable[
    [Any, Any, Any], AbstractContextManager[list[Any]]
]
