"""Monitors: callbacks that measure what training does."""

from keras_concepts.callbacks.batch_norm_shift_monitor import (
    BatchNormShiftMonitor,
)
from keras_concepts.callbacks.gradient_monitor import GradientMonitor
from keras_concepts.callbacks.non_finite_guard import (
    NonFinite,
    NonFiniteGuard,
)
from keras_concepts.callbacks.penalty_reporter import PenaltyReporter
from keras_concepts.callbacks.signal_monitor import SignalMonitor
from keras_concepts.callbacks.training_doctor import TrainingDoctor

__all__ = [
    "BatchNormShiftMonitor",
    "GradientMonitor",
    "NonFinite",
    "NonFiniteGuard",
    "PenaltyReporter",
    "SignalMonitor",
    "TrainingDoctor",
]
