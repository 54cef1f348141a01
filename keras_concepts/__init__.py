"""Components for Keras 3, and monitors that show why a model does not learn."""

from keras_concepts import callbacks, instruments, losses, metrics
from keras_concepts.check_gradients import GradientCheck, check_gradients
from keras_concepts.recording import Recording

__version__ = "0.1.0"

__all__ = [
    "GradientCheck",
    "Recording",
    "callbacks",
    "check_gradients",
    "instruments",
    "losses",
    "metrics",
]
