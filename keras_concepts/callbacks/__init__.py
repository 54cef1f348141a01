"""Monitors: callbacks that measure what a training does."""

from keras_concepts.callbacks.batch_norm_shift_monitor import (
    BatchNormShiftMonitor,
)
from keras_concepts.callbacks.gradient_monitor import GradientMonitor
from keras_concepts.callbacks.penalty_reporter import PenaltyReporter

__all__ = ["BatchNormShiftMonitor", "GradientMonitor", "PenaltyReporter"]
