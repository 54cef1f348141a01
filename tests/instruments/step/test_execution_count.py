"""Steps are counted where the last execution of an epoch is cut short."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.callbacks import (
    GradientMonitor,
    NonFiniteGuard,
    SignalMonitor,
    TrainingDoctor,
)

BACKEND = keras.backend.backend()
pytestmark = [
    pytest.mark.skipif(
        BACKEND == "torch", reason="steps_per_execution must be 1 with torch"
    ),
    pytest.mark.filterwarnings("ignore:Your input ran out of data"),
]
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
Y = X[:, :1]
# TensorFlow has data of unknown length that can be read again.
EPOCHS = 3 if BACKEND == "tensorflow" else 1


class Own(keras.Model):
    """Calls its optimizer once in each step, as Keras does."""

    def train_step(self, *args):
        return super().train_step(*args)


def batches(number, bad):
    numbers = itertools.count() if number is None else range(number)
    for n in numbers:
        yield X, Y * np.float32(1e37 if n in bad else 1.0)


def data(number, bad=()):
    if BACKEND != "tensorflow":
        return batches(number, bad)
    import tensorflow as tf

    return tf.data.Dataset.from_generator(
        lambda: batches(number, bad),
        output_signature=(
            tf.TensorSpec((4, 3), "float32"),
            tf.TensorSpec((4, 1), "float32"),
        ),
    )


def ends(monitor):
    """Steps taken at the end of each epoch."""
    return monitor.recording.select("loss", "log").step.tolist()


def train(monitors, number, optimizer="sgd", kind=keras.Model, bad=(), **fit):
    x = keras.Input((3,))
    model = kind(x, layers.Dense(1)(x))
    model.compile(optimizer, "mse", steps_per_execution=4)
    fit = {"epochs": EPOCHS, "shuffle": False, "verbose": 0} | fit
    model.fit(data(number, bad), callbacks=monitors, **fit)


def counts(*args, **options):
    """Steps taken at the end of each epoch, seen by a monitor of signals."""
    monitor = SignalMonitor(probe=(X, None))
    train([monitor], *args, **options)
    return ends(monitor)


def test_each_monitor():
    monitors = [
        TrainingDoctor(on_finding=lambda finding: None),
        GradientMonitor(max_samples=None),
        NonFiniteGuard(),
        SignalMonitor(probe=(X, Y)),
    ]
    train(monitors, 10)
    for each in monitors:
        assert ends(each) == [10 * epoch for epoch in range(1, EPOCHS + 1)]
    measured = monitors[1].recording.select("", "batch_loss").step
    assert measured.tolist() == list(range(10 * EPOCHS))
    passes = monitors[3].recording.select("", "probe_loss").step
    assert passes.tolist() == [10 * epoch for epoch in range(EPOCHS + 1)]


@pytest.mark.parametrize("number", [3, 8])
def test_data_end_within_an_execution(number):
    expected = [number * epoch for epoch in range(1, EPOCHS + 1)]
    assert counts(number) == expected


def test_a_step_of_its_own():
    expected = [10 * epoch for epoch in range(1, EPOCHS + 1)]
    assert counts(10, kind=Own) == expected


def test_accumulated_gradients():
    optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=3)
    expected = [10 * epoch for epoch in range(1, EPOCHS + 1)]
    assert counts(10, optimizer) == expected


def test_skipped_steps():
    """A step whose gradients overflow is a step, but no iteration."""
    inner = keras.optimizers.SGD(0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(
        inner, initial_scale=1024.0, dynamic_growth_steps=200
    )
    expected = [10 * epoch for epoch in range(1, EPOCHS + 1)]
    assert counts(10, optimizer, bad=(1, 6)) == expected
    assert int(inner.iterations) < expected[-1]


def test_the_last_execution_is_not_cut_short():
    """With `steps_per_epoch`, the last execution takes more than were asked."""
    expected = [12 * epoch for epoch in range(1, EPOCHS + 1)]
    assert counts(None, steps_per_epoch=10) == expected


def test_an_optimizer_that_counts_otherwise():
    """What is not known is counted as before, up to the full execution."""

    class Counts(keras.optimizers.SGD):
        def apply(self, *args, **kwargs):
            super().apply(*args, **kwargs)
            self._iterations.assign(0)

    assert counts(10, Counts(0.01), epochs=1) == [12]
