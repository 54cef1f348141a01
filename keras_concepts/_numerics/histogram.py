"""Bins for probabilities: even, or fine near 0 and 1."""

import numpy as np

LARGEST_LOGIT = 16.0  # a probability of 1 - 1e-7, float32's last step below 1


def even_edges(bins: int) -> np.ndarray:
    """Inner edges of bins of equal width in [0, 1], float32."""
    return np.linspace(0, 1, bins + 1, dtype="float64")[1:-1].astype("float32")


def logit_edges(bins: int) -> np.ndarray:
    """Inner edges of bins of equal width in the logit, as logits, float64.

    The probabilities of rare events lie near 0, where even bins would put them
    all into one bin.
    """
    return np.linspace(-LARGEST_LOGIT, LARGEST_LOGIT, bins - 1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits."""
    return 1 / (1 + np.exp(-logits))
