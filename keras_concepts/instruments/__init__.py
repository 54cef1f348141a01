"""Instruments: how a running training step is measured."""

from keras_concepts.instruments.gradient_tap import (
    GradientSamples,
    GradientTap,
)

__all__ = ["GradientSamples", "GradientTap"]
