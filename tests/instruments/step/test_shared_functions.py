"""How many train functions the monitors of one `fit` compile."""

import warnings

import keras
import numpy as np
import pytest

from keras_concepts import _backend
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
)

MESSAGE = "The monitors of this `fit` measure different steps"


def model_with_traces():
    traces = []

    class Counted(keras.layers.Dense):
        def call(self, inputs, training=None):
            if training:
                traces.append(1)
            return super().call(inputs)

    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.BatchNormalization(),
            Counted(2, kernel_regularizer="l2"),
        ]
    )
    model.compile("adam", "mse")
    return model, traces


@pytest.fixture
def made(monkeypatch):
    """The observed train functions that were made."""
    functions = []
    original = _backend.observed_train_functions

    def observed_train_functions(model):
        make = original(model)

        def counted(*args):
            functions.append(make(*args))
            return functions[-1]

        return counted

    monkeypatch.setattr(
        _backend, "observed_train_functions", observed_train_functions
    )
    return functions


def fit(model, steps, *monitors, epochs=2, **arguments):
    x = np.random.default_rng(0).normal(size=(steps * 2, 3)).astype("float32")
    model.fit(
        x, x[:, :2], 2, epochs, verbose=0, callbacks=list(monitors), **arguments
    )


def all_four(**guard):
    return [
        GradientMonitor(),
        BatchNormShiftMonitor(),
        PenaltyReporter(),
        NonFiniteGuard(sink=lambda message: None, **guard),
    ]


@pytest.mark.parametrize("guard", [{}, {"before_update": True}])
@pytest.mark.parametrize("steps", [20, 33, 70])
def test_all_monitors_at_their_defaults(steps, guard, made):
    model, traces = model_with_traces()
    own = model.make_train_function
    fit(model, steps, *all_four(**guard))
    assert len(made) == (1 if steps <= 32 else 2)
    assert model.make_train_function == own
    if keras.backend.backend() == "jax":
        # Each is traced once, and the guard's second pass calls the layer.
        assert len(traces) <= 2 * len(made) + 2
    # The next `fit` makes its own, and leaves the model's alone.
    fit(model, steps, epochs=1)
    assert len(made) == (1 if steps <= 32 else 2)


def test_one_function_for_the_measured_and_the_models_own(made):
    model, _ = model_with_traces()
    fit(model, 40, GradientMonitor(), BatchNormShiftMonitor())
    assert len(made) == 1


def test_equal_schedules_share_one(made):
    model, _ = model_with_traces()
    monitors = [
        GradientMonitor(every=3),
        BatchNormShiftMonitor(every=3),
        PenaltyReporter(every=3, max_samples=32),
        NonFiniteGuard(),
    ]
    fit(model, 40, *monitors)
    assert len(made) == 2


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_unknown_length_of_the_epoch(made):
    model, _ = model_with_traces()
    x = np.ones((2, 3), "float32")
    fitted = ((x, x[:, :2]) for _ in range(150))
    model.fit(fitted, shuffle=False, verbose=0, callbacks=all_four())
    assert len(made) == 2


def test_different_schedules_are_reported_once(made):
    model, _ = model_with_traces()
    monitors = [
        GradientMonitor(every=2),
        BatchNormShiftMonitor(every=3),
        PenaltyReporter(),
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, 12, *monitors)
    [message] = [str(w.message) for w in caught if MESSAGE in str(w.message)]
    assert "GradientMonitor (every=2, max_samples=32)" in message
    assert "BatchNormShiftMonitor (every=3, max_samples=32)" in message
    assert "PenaltyReporter" not in message
    assert "equal `every` and `max_samples` share one" in message
    assert len(made) == 4  # none, one, the other or both beside the reporter
    steps = [
        m.recording.select("", "batch_loss").step.size for m in monitors[::2]
    ]
    assert steps[0] == 12  # 6 an epoch


def test_a_warning_that_is_an_error_leaves_nothing_patched(made):
    model, _ = model_with_traces()
    own = model.make_train_function
    monitors = [GradientMonitor(every=2), BatchNormShiftMonitor(every=3)]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", MESSAGE)
        with pytest.raises(UserWarning, match=MESSAGE):
            fit(model, 12, *monitors)
    assert model.make_train_function == own
    assert "keras_concepts" not in type(model.train_function).__module__
