"""Thresholds between normal and suspect, each with its source."""

import math

# Distance of a moving mean from the batches' mean, in standard deviations of
# the batch: from here on, typical inputs of the next layer at inference were in
# the tail in training. Source: chosen by this project.
BATCH_NORM_SHIFT = 1.0

# abs(log(moving variance / batch variance)): one is twice the other, so that
# outputs are wrong by a factor of sqrt(2). Source: chosen by this project.
BATCH_NORM_VARIANCE = math.log(2.0)

# Usual RMS update over RMS weight. Source: A. Karpathy, notes of CS231n,
# "Neural Networks Part 3", section "Ratio of weights:updates".
USUAL_UPDATE_RATIO = 1e-3
