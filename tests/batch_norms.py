"""Batch normalization in float64 NumPy, for tests. Does not need Keras."""

import numpy as np


def moments(x, mask=None, axis=-1):
    """Count, mean and variance of each unit over all other axes."""
    x = np.moveaxis(np.asarray(x, "float64"), axis, -1)
    if mask is None:
        rows = x.reshape(-1, x.shape[-1])
    else:
        rows = x[np.asarray(mask, bool)]
    return len(rows), rows.mean(axis=0), rows.var(axis=0)


class MovingStatistics:
    """What one layer's moving averages are, batch after batch."""

    def __init__(self, channels, momentum=0.99, epsilon=1e-3):
        self.mean, self.variance = np.zeros(channels), np.ones(channels)
        self.momentum, self.epsilon = momentum, epsilon
        self.shifts, self.ratios = [], []

    def see(self, x, mask=None, axis=-1):
        _, mean, variance = moments(x, mask, axis)
        sigma2 = variance + self.epsilon
        self.shifts.append((self.mean - mean) / np.sqrt(sigma2))
        self.ratios.append(np.log((self.variance + self.epsilon) / sigma2))
        k = self.momentum
        self.mean = k * self.mean + (1 - k) * mean
        self.variance = k * self.variance + (1 - k) * variance

    def shift(self):
        return np.mean(self.shifts, axis=0), np.mean(self.ratios, axis=0)
