"""Losses: objectives for `compile(loss=...)` or a training loop of your own."""

from keras_concepts.losses.cross_entropy import CrossEntropy
from keras_concepts.losses.focal_cross_entropy import FocalCrossEntropy
from keras_concepts.losses.soft_fbeta import SoftFBeta
from keras_concepts.losses.tversky import Tversky

__all__ = ["CrossEntropy", "FocalCrossEntropy", "SoftFBeta", "Tversky"]
