"""Initializers: what weights are before training."""

from keras_concepts.initializers.chrono import Chrono

__all__ = ["Chrono"]
