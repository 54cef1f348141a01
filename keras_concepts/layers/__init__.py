"""Layers that make a concept visible or usable."""

from keras_concepts.layers.monte_carlo_dropout import MonteCarloDropout
from keras_concepts.layers.temperature_scaling import TemperatureScaling

__all__ = ["MonteCarloDropout", "TemperatureScaling"]
