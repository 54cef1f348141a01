"""Recordings made by hand, for rules."""

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.rules.judge import Judge
from keras_concepts.rules.rule import RULES
from keras_concepts.rules.training import Training

# Of an epoch.
STEPS = 10
# Losses of a classifier of 10 classes: no better than a constant, and healthy.
STUCK = [2.3] * 10
WELL = [2.0, 1.5, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def head(**changes):
    """A softmax over 10 classes with the loss of class numbers."""
    facts = {
        "output": "",
        "layer": "model/dense",
        "activation": "softmax",
        "argument_activation": None,
        "units": 10,
        "shape": [None, 10],
        "loss": "SparseCategoricalCrossentropy",
        "kind": "multiclass",
        "from_logits": False,
        "label_smoothing": 0.0,
        "loss_weight": None,
        "metrics": [],
    }
    return facts | changes


def binary(**changes):
    """A sigmoid with its loss."""
    facts = {
        "activation": "sigmoid",
        "units": 1,
        "shape": [None, 1],
        "loss": "BinaryCrossentropy",
        "kind": "binary",
    }
    return head(**(facts | changes))


def regression(**changes):
    """A linear unit with squared errors."""
    facts = {
        "activation": "linear",
        "units": 1,
        "shape": [None, 1],
        "loss": "MeanSquaredError",
        "kind": "regression",
        "from_logits": None,
    }
    return head(**(facts | changes))


def entry(**changes):
    """A standardized input of 20 features."""
    facts = {
        "name": "x",
        "shape": [20],
        "dtype": "float32",
        "integer": False,
        "features": 20,
        "mean": 0.0,
        "std": 1.0,
        "rms": 1.0,
        "min": -3.0,
        "max": 3.0,
        "non_finite": 0,
        "rms_of_features": [1.0, 1.0, 1.0],
        "constant_features": 0,
        "padding": None,
        "repeated_rows": 0.0,
    }
    return facts | changes


def classes(**changes):
    """Numbers of 10 balanced classes in random order."""
    facts = {
        "output": "",
        "shape": [],
        "dtype": "int32",
        "form": "sparse",
        "mean": 4.5,
        "std": 2.9,
        "min": 0,
        "max": 9,
        "non_finite": 0,
        "distinct": 10,
        "shares": [0.1] * 10,
        "sorted": 0.0,
        "classes_per_batch": 1.0,
        "constant_loss": 2.3026,
        "uniform_loss": 2.3026,
    }
    return facts | changes


def numbers(**changes):
    """Standardized targets of a regression."""
    facts = {
        "shape": [1],
        "dtype": "float32",
        "form": "real",
        "mean": 0.0,
        "std": 1.0,
        "min": -3.0,
        "max": 3.0,
        "distinct": 1000,
        "shares": None,
        "sorted": None,
        "classes_per_batch": None,
        "constant_loss": 1.0,
        "uniform_loss": None,
    }
    return classes(**(facts | changes))


def layer(kind="Dense", path="model/dense", **changes):
    facts = {"path": path, "class": kind, "dtype_policy": "float32"}
    return facts | changes


def run(
    heads=(),
    inputs=(),
    targets=(),
    losses=(),
    epochs=10,
    predicted=None,
    layers=None,
    validation=None,
    rows=1000,
    source="arrays",
    fit=None,
    **facts,
):
    """What a doctor would have recorded.

    Args:
        losses: Logged at the end of each epoch of 10 steps.
        predicted: Smallest and largest prediction, and the error of the sum.
    """
    recording = Recording(
        facts={
            "epochs": epochs,
            "backend": "jax",
            "layers": layers or [layer("Functional", "model"), layer()],
            "heads": list(heads),
            "fit": {"shuffle": True, "sample_weight": False} | (fit or {}),
            "data": {
                "source": source,
                "rows": rows,
                "of": rows,
                "step": 0,
                "inputs": list(inputs),
                "targets": list(targets),
                "validation": validation,
                "missing": [],
            },
            **facts,
        }
    )
    quantities = (q.PREDICTION_MIN, q.PREDICTION_MAX, q.PREDICTION_SUM_ERROR)
    for quantity, value in zip(quantities, predicted or (), strict=False):
        if value is not None:
            recording.append(-1, "", quantity, 0, value)
    for epoch, loss in enumerate(losses):
        recording.append(epoch, "loss", q.LOG, STEPS * (epoch + 1), loss)
    return recording


def kernel(path="model/dense/kernel", **changes):
    """A trainable matrix."""
    facts = {
        "path": path,
        "layer": path.rpartition("/")[0],
        "shape": [20, 10],
        "trainable": True,
        "role": q.WEIGHT,
        "regularizer": None,
    }
    return facts | changes


def add(recording, quantity, values, owner="", first=-1):
    """Adds a value per check: before the first of 10 steps, and per epoch."""
    for epoch, value in enumerate(values, first):
        index = range(len(value)) if quantity.indexed_by else None
        step = STEPS * (epoch + 1)
        recording.append(epoch, owner, quantity, step, value, index=index)
    return recording


def log(recording, key, values):
    """Adds what `fit` logs under a key at the end of each epoch."""
    return add(recording, q.LOG, values, key, first=0)


def findings(name, recording, position=(0, 0)):
    """Findings of one rule after all that is recorded."""
    judge = Judge(recording, rules=[r for r in RULES if r.name == name])
    new = judge.check(position)
    assert not [each for each in judge.unchecked if "failed" in each]
    for each in new:
        _ = compile(each.code, each.rule, "exec")
    return new


def found(name, recording, position=(0, 0)):
    """The same as variants."""
    return [each.variant for each in findings(name, recording, position)]


def training(recording):
    return Training.of(recording)
