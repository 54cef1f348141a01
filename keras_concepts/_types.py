"""Names for what the type checker cannot know."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

# Keras ships no type information and a tensor is a `tf.Tensor`, a `jax.Array`
# or a `torch.Tensor`: there is no common class to name.
Tensor: TypeAlias = Any

# What runs a training step inside a context of its own: from the batch, and
# pairs of untrained variables and their values or `None`.
Observe: TypeAlias = Callable[[Any, Any], AbstractContextManager[None]]
