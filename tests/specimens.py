"""One instance of each class that Keras can save, with its arguments."""

import keras

import keras_concepts as kc

COMMON_METRIC = {"name": "x", "num_classes": 4, "ignore_class": 3}
COUNTS = {
    **COMMON_METRIC,
    "class_ids": [2, 0],
    "zero_division": 1.0,
    "absent": "skip",
    "labels": "sparse",
    "from_logits": True,
    "use_mask": False,
    "dtype": "float32",
    "axis": 1,
}
LOSS = {
    "name": "x",
    "reduction": "sum",
    "from_logits": True,
    "labels": "sparse",
}

# None of the arguments is a default, if there is another that fits the data of
# `test_contract.py`: rows of 4 logits, and class numbers.
ARGUMENTS = {
    kc.constraints.SoftThreshold: {"strength": 0.03},
    kc.initializers.Chrono: {"max_lag": 30, "seed": 7, "cell": "gru"},
    kc.layers.ActivationProbe: {"activation": "tanh"},
    kc.layers.MonitoredBatchNormalization: {
        "axis": 1,
        "momentum": 0.9,
        "epsilon": 0.01,
        "scale": False,
    },
    kc.layers.MonteCarloDropout: {
        "rate": 0.3,
        "noise_shape": (None, 1),
        "seed": 7,
    },
    kc.layers.TemperatureScaling: {"initial": 1.7},
    kc.losses.CrossEntropy: {
        **LOSS,
        "label_smoothing": 0.1,
        "class_weights": [1.0, 2.0, 0.5, 1.5],
        "ignore_class": 3,
        "dtype": "float32",
    },
    kc.losses.FocalCrossEntropy: {
        **LOSS,
        "alpha": [0.25, 0.5, 0.75, 0.5],
        "gamma": 0.5,
        "label_smoothing": 0.1,
        "ignore_class": 3,
    },
    kc.losses.SoftFBeta: {
        **LOSS,
        "beta": 2.0,
        "smooth": 1.0,
        "ignore_class": 3,
    },
    kc.losses.Tversky: {
        **LOSS,
        "alpha": 0.3,
        "beta": 0.7,
        "smooth": 1.0,
        "ignore_class": 3,
    },
    kc.metrics.BalancedAccuracy: {**COMMON_METRIC, "adjusted": True},
    kc.metrics.BestThresholdFBeta: {
        **COMMON_METRIC,
        "beta": 2.0,
        "bins": 64,
        "class_id": 2,
        "from_logits": True,
    },
    kc.metrics.BrierScore: {
        **COMMON_METRIC,
        "scale_by_half": True,
        "from_logits": True,
    },
    kc.metrics.CalibrationError: {
        **COMMON_METRIC,
        "bins": 7,
        "norm": "l2",
        "spacing": "logit",
        "from_logits": True,
    },
    kc.metrics.ClassificationReport: {
        **COUNTS,
        "class_names": ["cat", "dog"],
        "class_scores": ["recall", "precision"],
        "threshold": 0.3,
        "top_k": 2,
    },
    kc.metrics.CohenKappa: {
        **COMMON_METRIC,
        "weights": "linear",
        "zero_division": 1.0,
    },
    kc.metrics.ConfusionMatrix: {
        **COMMON_METRIC,
        "normalize": "true",
        "class_names": ["a", "b", "c", "d"],
    },
    kc.metrics.F1Score: {
        **COUNTS,
        "average": "macro",
        "threshold": [0.2, 0.3, 0.4, 0.5],
        "top_k": 2,
    },
    kc.metrics.FBetaScore: {
        **COUNTS,
        "average": "samples",
        "beta": 2.0,
        "top_k": 2,
    },
    kc.metrics.MatthewsCorrelation: COMMON_METRIC,
    kc.metrics.Precision: {
        **COUNTS,
        "average": "weighted",
        "thresholds": 0.3,
        "top_k": 2,
    },
    kc.metrics.Recall: {
        "name": "x",
        "average": None,
        "class_id": 2,
        "top_k": 3,
    },
    kc.regularizers.GroupLasso: {"strength": 0.03, "axis": -1},
    kc.regularizers.L1: {"l1": 0.03},
    kc.regularizers.L1L2: {"l1": 0.03, "l2": 0.02},
    kc.regularizers.L2: {"l2": 0.03},
}


def model_with(component):
    """A small compiled model that has the component in its place."""
    last = {}
    middle = keras.layers.Dense(5, "tanh")
    compiled = {"loss": kc.losses.CrossEntropy(from_logits=True)}
    match component:
        case keras.Metric():
            compiled["metrics"] = [component]
        case keras.losses.Loss():
            compiled["loss"] = component
        case keras.layers.Layer():
            middle = component
        case keras.regularizers.Regularizer():
            last["kernel_regularizer"] = component
        case keras.constraints.Constraint():
            last["kernel_constraint"] = component
        case keras.initializers.Initializer():
            memory = keras.layers.GRU(5, bias_initializer=component)
            middle = keras.Sequential([keras.layers.Reshape((2, 3)), memory])
    model = keras.Sequential(
        [keras.Input((6,)), middle, keras.layers.Dense(4, **last)]
    )
    model.compile("sgd", **compiled)
    return model
