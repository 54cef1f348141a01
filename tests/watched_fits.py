"""What tests of several monitors in one `fit` share."""

import contextlib
import warnings

import numpy as np

from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
    TrainingDoctor,
)

X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1]


def all_monitors(record_to=None, probe=(X, Y)):
    """One of each kind, but for the doctor."""
    return [
        GradientMonitor(record_to=record_to),
        SignalMonitor(probe, record_to=record_to),
        PenaltyReporter(record_to=record_to),
        BatchNormShiftMonitor(probe, record_to=record_to),
        NonFiniteGuard(record_to=record_to),
    ]


def quiet_doctor(**arguments):
    """A doctor that says nothing and measures every step."""
    return TrainingDoctor(
        on_finding=lambda finding: None, time_budget=None, **arguments
    )


@contextlib.contextmanager
def user_warnings():
    """Their texts; what else Keras warns of is its own affair."""
    texts = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += [str(w.message) for w in caught if w.category is UserWarning]
