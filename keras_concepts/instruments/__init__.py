"""Instruments: how a running training step is measured."""

import warnings
from typing import Any

from keras_concepts.instruments.gradients.gradient_tap import (
    GradientSamples,
    GradientTap,
)
from keras_concepts.instruments.signals.forward_probe import (
    LayerSignal,
    Signals,
    forward_probe,
)
from keras_concepts.instruments.signals.recurrent_pass import RecurrentSteps


def __getattr__(name: str) -> Any:
    if name == "Steps":
        warnings.warn(
            "`keras_concepts.instruments.Steps` is now named `RecurrentSteps`.",
            DeprecationWarning,
            stacklevel=2,
        )
        return RecurrentSteps
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "GradientSamples",
    "GradientTap",
    "LayerSignal",
    "RecurrentSteps",
    "Signals",
    "forward_probe",
]
