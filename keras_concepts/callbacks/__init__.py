"""Monitors: callbacks that measure what a training does."""

from keras_concepts.callbacks.gradient_monitor import GradientMonitor

__all__ = ["GradientMonitor"]
