"""Regularizers with known terms and gradients."""

from keras_concepts.regularizers.group_lasso import GroupLasso
from keras_concepts.regularizers.l1_l2 import L1, L1L2, L2, as_penalty

# Ruff treats L1 as a constant, and sorts constants first.
__all__ = ["GroupLasso", "L1", "L1L2", "L2", "as_penalty"]  # noqa: RUF022
