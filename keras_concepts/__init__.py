"""Components for Keras 3, and monitors that show why a model does not learn."""

from keras_concepts import (
    callbacks,
    constraints,
    initializers,
    instruments,
    layers,
    losses,
    metrics,
    regularizers,
    reports,
)
from keras_concepts.check_gradients import GradientCheck, check_gradients
from keras_concepts.check_masks import MaskReport, check_masks
from keras_concepts.mc_predict import MCPrediction, mc_predict
from keras_concepts.recalibrate_batch_norm import recalibrate_batch_norm
from keras_concepts.recording import Recording
from keras_concepts.reports.sparsity import sparsity
from keras_concepts.strip_probes import strip_probes
from keras_concepts.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "GradientCheck",
    "MCPrediction",
    "MaskReport",
    "Recording",
    "Vocabulary",
    "callbacks",
    "check_gradients",
    "check_masks",
    "constraints",
    "initializers",
    "instruments",
    "layers",
    "losses",
    "mc_predict",
    "metrics",
    "recalibrate_batch_norm",
    "regularizers",
    "reports",
    "sparsity",
    "strip_probes",
]
