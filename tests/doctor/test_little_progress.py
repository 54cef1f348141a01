"""Real runs on tasks that are mostly noise."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.callbacks import TrainingDoctor


def watched(model, x, y, **options):
    doctor = TrainingDoctor(on_finding=lambda finding: None, time_budget=None)
    model.fit(x, y, verbose=0, callbacks=[doctor], **options)
    return {f.rule for f in doctor.findings if f.severity != "info"}


def linear(x, activation, loss, bias=0.0):
    keras.utils.set_random_seed(0)
    start = keras.initializers.Constant(bias)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            layers.Dense(1, activation, bias_initializer=start),
        ]
    )
    model.compile(keras.optimizers.Adam(0.03), loss)
    return model


@pytest.mark.parametrize("validates", [False, True])
def test_rare_clicks(validates):
    random = np.random.default_rng(1)
    x = random.normal(size=(6000, 4)).astype("float32")
    logits = x @ [0.6, -0.5, 0.4, 0.2] - 3.7
    y = (random.random(6000) < 1 / (1 + np.exp(-logits))).astype("float32")
    options = {"validation_data": (x[4000:], y[4000:])} if validates else {}
    model = linear(x, "sigmoid", "binary_crossentropy", bias=-3.4)
    rules = watched(
        model, x[:4000], y[:4000], epochs=8, batch_size=250, **options
    )
    assert rules == set()


@pytest.mark.parametrize("is_noise", [False, True])
def test_returns_of_shares(is_noise):
    """The best that there is explains 4 % of the variance."""
    random = np.random.default_rng(1)
    x = random.normal(size=(5000, 4)).astype("float32")
    y = random.normal(size=5000).astype("float32")
    y += (0.0 if is_noise else 0.2) * x[:, 0]
    rules = watched(
        linear(x, None, "mse"),
        x[:3000],
        y[:3000],
        epochs=10,
        batch_size=250,
        validation_data=(x[3000:], y[3000:]),
    )
    assert rules == ({"no_progress"} if is_noise else set())
