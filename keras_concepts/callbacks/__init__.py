"""Monitors: callbacks that measure what a training does."""

from keras_concepts.callbacks.gradient_monitor import GradientMonitor
from keras_concepts.callbacks.penalty_reporter import PenaltyReporter
from keras_concepts.callbacks.signal_monitor import SignalMonitor

__all__ = ["GradientMonitor", "PenaltyReporter", "SignalMonitor"]
