"""Regularizers that know their terms and their gradient."""

from keras_concepts.regularizers.group_lasso import GroupLasso
from keras_concepts.regularizers.l1_l2 import L1, L1L2, L2, as_penalty

# Ruff takes L1 for a constant, and constants for first.
__all__ = ["GroupLasso", "L1", "L1L2", "L2", "as_penalty"]  # noqa: RUF022
