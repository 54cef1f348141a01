"""Two replicas on two virtual CPU devices, in a process of their own."""

import os
import subprocess
import sys
import textwrap

import keras
import pytest

COMMON = """
import numpy as np, keras
from keras_concepts.callbacks import (
    GradientMonitor, NonFiniteGuard, PenaltyReporter, TrainingDoctor
)

x = np.random.default_rng(0).normal(size=(64, 12)).astype("float32")
y = x[:, :3].argmax(axis=1).astype("int32")

def train(callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(8, "relu", kernel_regularizer="l2"),
            keras.layers.Dense(3),
        ]
    )
    # Each replica draws its own initial values: give all the same.
    random = np.random.default_rng(1)
    model.set_weights(
        [random.normal(size=w.shape, scale=0.3) for w in model.get_weights()]
    )
    model.compile(
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(
        x, y, 16, epochs=2, shuffle=False, verbose=0, callbacks=callbacks
    )
    return [keras.ops.convert_to_numpy(v) for v in model.variables]

def doctor():
    return TrainingDoctor(time_budget=None, sink=lambda text: None)

def compare(scope):
    alone, seen = GradientMonitor(), doctor()
    train([alone, seen])
    with scope():
        beside = doctor()
        for a, b in zip(train([]), train([beside]), strict=True):
            np.testing.assert_array_equal(a, b)
        plain = train([])
        monitor, reporter = GradientMonitor(), PenaltyReporter()
        watched = train([monitor, reporter])
        # Its second train function is made between two steps.
        thinned = GradientMonitor(max_samples=2)
        others = train([thinned, PenaltyReporter(), NonFiniteGuard()])
    assert thinned.recording.select("", "loss").step.tolist() == [0, 2, 4, 6]
    assert np.all(reporter.recording.select("", "penalty").value > 0)
    assert "other_loss" not in reporter.recording.quantities
    for a, b, c in zip(plain, watched, others, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)
    assert [f.rule for f in beside.findings] == [
        f.rule for f in seen.findings
    ]
    assert seen.unchecked == [
        each for each in beside.unchecked if "replicas" not in each
    ]
    for quantity in (
        "probe_inference_loss", "probe_loss", "prediction_std", "error_rms",
        "epoch_update_rms", "weight_penalty",
    ):
        a, b = (
            each.recording.select(quantity=quantity) for each in (seen, beside)
        )
        assert a.step.tolist() == b.step.tolist() != []
        # Replicas sum in another order, in float32, and weights drift apart.
        np.testing.assert_allclose(a.value, b.value, rtol=1e-3, atol=1e-6)
    for quantity in ("gradient_norm", "gradient_rms", "gradient_max"):
        a = alone.recording.select(quantity=quantity)
        b = monitor.recording.select(quantity=quantity)
        assert a.step.tolist() == b.step.tolist()
        np.testing.assert_allclose(a.value, b.value, rtol=1e-4, atol=1e-7)
"""
JAX = """
import jax
assert len(jax.devices()) == 2
compare(keras.distribution.DataParallel().scope)
"""


def test_the_reduced_gradients_are_recorded():
    if keras.backend.backend() != "jax":
        pytest.skip("of JAX; the others have scripts in tests/distribution")
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2"
    }
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(COMMON + JAX)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
