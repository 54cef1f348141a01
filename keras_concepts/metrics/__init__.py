"""Metrics that are right on the whole stream."""

from keras_concepts.metrics.f1_score import F1Score
from keras_concepts.metrics.fbeta_score import FBetaScore

__all__ = ["F1Score", "FBetaScore"]
