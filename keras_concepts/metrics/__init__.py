"""Metrics that are exact over the whole stream and equal to scikit-learn's."""

from keras_concepts.metrics.balanced_accuracy import BalancedAccuracy
from keras_concepts.metrics.best_threshold_fbeta import BestThresholdFBeta
from keras_concepts.metrics.brier_score import BrierScore
from keras_concepts.metrics.calibration_error import CalibrationError
from keras_concepts.metrics.classification_report import ClassificationReport
from keras_concepts.metrics.cohen_kappa import CohenKappa
from keras_concepts.metrics.confusion_matrix import ConfusionMatrix
from keras_concepts.metrics.f1_score import F1Score
from keras_concepts.metrics.fbeta_score import FBetaScore
from keras_concepts.metrics.matthews_correlation import MatthewsCorrelation
from keras_concepts.metrics.precision import Precision
from keras_concepts.metrics.recall import Recall

__all__ = [
    "BalancedAccuracy",
    "BestThresholdFBeta",
    "BrierScore",
    "CalibrationError",
    "ClassificationReport",
    "CohenKappa",
    "ConfusionMatrix",
    "F1Score",
    "FBetaScore",
    "MatthewsCorrelation",
    "Precision",
    "Recall",
]
