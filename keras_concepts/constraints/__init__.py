"""Constraints: applied to a weight after each update."""

from keras_concepts.constraints.soft_threshold import (
    SoftThreshold,
    soft_threshold,
)

__all__ = ["SoftThreshold", "soft_threshold"]
