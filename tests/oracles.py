"""Plain float64 NumPy, one loop per idea. Does not need Keras."""

import numpy as np


def logsumexp(x):
    highest = x.max()
    return highest + np.log(np.exp(x - highest).sum())


def log_sigmoid(z):
    return -np.logaddexp(0.0, -z)


def categorical_focal(targets, logits, gamma=0.0, weights=1.0):
    """Of each row, `-sum(w y (1-p)^gamma log p)`; gamma 0: cross-entropy."""
    weights = np.broadcast_to(np.asarray(weights, float), logits.shape[-1:])
    losses = np.zeros(len(logits))
    for i, z in enumerate(np.asarray(logits, float)):
        for c in range(len(z)):
            if targets[i, c] == 0:
                continue
            rest = logsumexp(np.delete(z, c)) - logsumexp(z)
            log_p = z[c] - logsumexp(z)
            losses[i] -= (
                weights[c] * targets[i, c] * np.exp(gamma * rest) * log_p
            )
    return losses


def binary_focal(targets, logits, gamma=0.0, positive=1.0, negative=1.0):
    """Of each row, the mean of both parts over its columns."""
    z = np.asarray(logits, float)
    log_p, log_q = log_sigmoid(z), log_sigmoid(-z)
    yes = positive * targets * np.exp(gamma * log_q) * log_p
    no = negative * (1 - targets) * np.exp(gamma * log_p) * log_q
    return -(yes + no).mean(axis=-1)


def tversky_index(targets, predictions, weights, alpha, beta):
    """Of one class, from flat arrays."""
    hit = false_positive = false_negative = 0.0
    for y, p, w in zip(targets, predictions, weights, strict=True):
        hit += w * y * p
        false_positive += w * (1 - y) * p
        false_negative += w * y * (1 - p)
    return hit / (hit + alpha * false_positive + beta * false_negative)


def slope(function, x, step=1e-5):
    """Gradient of a scalar function by central differences."""
    x = np.asarray(x, float)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = step
        rise = function(x + shift) - function(x - shift)
        gradient[index] = rise / (2 * step)
    return gradient
