import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.instruments.data.target_statistics import target_facts
from keras_concepts.instruments.heads import heads_of

Y = np.random.default_rng(0).normal(size=2000).astype("float32")


def facts(activation, loss, y=Y, **given):
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(1, activation=activation)]
    )
    model.compile("sgd", loss)
    [head] = heads_of(model, y=y)
    return target_facts(y, head, **given)


@pytest.mark.parametrize("y", [Y, Y[:, None]])
@pytest.mark.parametrize(
    ("loss", "power"),
    [("mse", 2), ("mae", 1)],
)
def test_standardized_targets_behind_a_tanh(y, loss, power):
    excess = np.maximum(np.abs(Y) - 1.0, 0.0) ** power
    found = facts("tanh", loss, y)["reachable_loss"]
    assert found == pytest.approx(excess.mean(), rel=1e-4)


def test_one_side():
    found = facts("relu", "mse")["reachable_loss"]
    assert found == pytest.approx((np.minimum(Y, 0.0) ** 2).mean(), rel=1e-4)


def test_a_sum_counts_per_batch():
    loss = keras.losses.MeanSquaredError(reduction="sum")
    found = facts("relu", loss, batch_size=10)["reachable_loss"]
    expected = 10 * (np.minimum(Y, 0.0) ** 2).mean()
    assert found == pytest.approx(expected, rel=1e-4)


def test_weights_of_outliers():
    weight = (np.abs(Y) <= 1.0).astype("float32")
    found = facts("tanh", "mse", sample_weight=weight)["reachable_loss"]
    assert found == 0.0


@pytest.mark.parametrize(
    ("activation", "y"), [(None, Y), ("tanh", Y / 9.0), ("relu", np.abs(Y))]
)
def test_all_within_reach(activation, y):
    assert facts(activation, "mse", y)["reachable_loss"] is None


@pytest.mark.parametrize("lowest", [0.0, -0.1])
def test_negative_weights(lowest):
    weight = np.linspace(lowest, 1.0, len(Y)).astype("float32")
    found = facts(None, "mse", sample_weight=weight)["negative_weights"]
    assert found == (lowest < 0.0)
