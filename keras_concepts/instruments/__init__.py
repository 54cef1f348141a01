"""Instruments: how a running training step is measured."""

from keras_concepts.instruments.gradients.gradient_tap import (
    GradientSamples,
    GradientTap,
)
from keras_concepts.instruments.signals.forward_probe import (
    LayerSignal,
    Signals,
    forward_probe,
)
from keras_concepts.instruments.signals.recurrent_pass import Steps

__all__ = [
    "GradientSamples",
    "GradientTap",
    "LayerSignal",
    "Signals",
    "Steps",
    "forward_probe",
]
