"""Layers that make a concept visible or usable."""

from keras_concepts.layers.monte_carlo_dropout import MonteCarloDropout

__all__ = ["MonteCarloDropout"]
