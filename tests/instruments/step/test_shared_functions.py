"""How many train functions the monitors of one `fit` compile."""

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
    assert len(made) == 1
    assert model.make_train_function == own
    if keras.backend.backend() == "jax":
        # Each is traced once, and the guard's second pass calls the layer.
        assert len(traces) <= 2 * len(made) + 2
    # The next `fit` makes its own, and leaves the model's alone.
    fit(model, steps, epochs=1)
    assert len(made) == 1


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
    assert len(made) == 1


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_unknown_length_of_the_epoch(made):
    model, _ = model_with_traces()
    x = np.ones((2, 3), "float32")
    fitted = ((x, x[:, :2]) for _ in range(150))
    model.fit(fitted, shuffle=False, verbose=0, callbacks=all_four())
    assert len(made) == 1


def test_each_is_due_in_its_own_steps(made):
    model, _ = model_with_traces()
    schedules = {2: GradientMonitor(every=2), 3: BatchNormShiftMonitor(every=3)}
    reporter = PenaltyReporter(every=4)
    fit(model, 12, *schedules.values(), reporter)
    assert len(made) == 1
    rows = schedules[2].recording.select("", "batch_loss")
    # After the first epoch, four of so few steps are enough.
    assert rows.step.tolist() == [*range(0, 12, 2), *range(12, 24, 3)]
    alone = []
    for every, kind in ((3, BatchNormShiftMonitor), (4, PenaltyReporter)):
        keras.utils.set_random_seed(0)
        model, _ = model_with_traces()
        alone.append(kind(every=every))
        fit(model, 12, alone[-1])
    keras.utils.set_random_seed(0)
    model, _ = model_with_traces()
    together = [BatchNormShiftMonitor(every=3), PenaltyReporter(every=4)]
    fit(model, 12, *together)
    for pair in zip(alone, together, strict=True):
        rows = [m.recording.select(monitor=type(m).__name__) for m in pair]
        for first, second in zip(*rows, strict=True):
            assert first.steps.tolist() == second.steps.tolist()
            np.testing.assert_allclose(first.values, second.values, rtol=1e-5)
