"""Names for what the type checker cannot know."""

from typing import Any, TypeAlias

# Keras ships no type information and a tensor is a `tf.Tensor`, a `jax.Array`
# or a `torch.Tensor`: there is no common class to name.
Tensor: TypeAlias = Any
