"""Layers that make a concept visible or usable."""

from keras_concepts.layers.activation_probe import (
    ActivationProbe,
    ActivationStatistics,
)
from keras_concepts.layers.monitored_batch_normalization import (
    BatchNormStatistics,
    MonitoredBatchNormalization,
)
from keras_concepts.layers.monte_carlo_dropout import MonteCarloDropout
from keras_concepts.layers.temperature_scaling import TemperatureScaling

__all__ = [
    "ActivationProbe",
    "ActivationStatistics",
    "BatchNormStatistics",
    "MonitoredBatchNormalization",
    "MonteCarloDropout",
    "TemperatureScaling",
]
