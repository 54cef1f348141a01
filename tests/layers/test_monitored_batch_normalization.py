import keras
import numpy as np
import pytest
from keras import layers

from batch_norms import MovingStatistics
from keras_concepts.layers import MonitoredBatchNormalization as Monitored

X = np.random.default_rng(0).normal(3.0, 2.0, (24, 6)).astype("float32")
Y = (X[:, :3] - 3.0).argmax(axis=1)


def numpy(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def assert_seen(layer, oracle):
    found = layer.statistics()
    shift, ratio = oracle.shift()
    assert found.batches == len(oracle.shifts)
    np.testing.assert_allclose(found.mean_shift, shift, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        found.log_variance_ratio, ratio, rtol=1e-5, atol=1e-5
    )
    assert found.initial_share == pytest.approx(
        layer.momentum ** len(oracle.shifts)
    )


@pytest.mark.parametrize(
    ("shape", "axis"), [((7, 3), -1), ((4, 3, 2, 2), 1), ((2, 4, 4, 3), -1)]
)
def test_batches_against_moving(shape, axis):
    random = np.random.default_rng(1)
    layer = Monitored(axis=axis, momentum=0.9)
    oracle = MovingStatistics(3, momentum=0.9)
    for i in range(4):
        x = random.normal(i, 2.0 + i, shape).astype("float32")
        layer(x, training=True)
        layer(x)  # inference does not count
        oracle.see(x, axis=axis)
    assert_seen(layer, oracle)
    layer.reset()
    assert layer.statistics().batches == 0
    assert np.isnan(layer.statistics().mean_shift).all()


def test_masks():
    random = np.random.default_rng(2)
    layer, oracle = Monitored(), MovingStatistics(2)
    for _ in range(3):
        x = random.normal(5.0, 3.0, (3, 4, 2)).astype("float32")
        mask = random.integers(0, 2, (3, 4)).astype(bool)
        mask[0, 0] = True
        x[~mask] = 1e3
        layer(x, training=True, mask=mask)
        oracle.see(x, mask)
    assert_seen(layer, oracle)


def test_frozen_measures_nothing():
    layer = Monitored()
    layer.build((None, 6))
    layer.trainable = False
    layer(X, training=True)
    assert layer.statistics().batches == 0


def test_not_built():
    with pytest.raises(ValueError, match="has not been called"):
        Monitored().statistics()


def model_with(kind):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            kind(),
            layers.Dropout(0.3),
            layers.Dense(8),
            kind(),
            layers.ReLU(),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.mark.optimized
def test_trains_as_the_plain_layer():
    plain = model_with(layers.BatchNormalization)
    logs = plain.fit(X, Y, 8, 2, verbose=0, shuffle=False).history
    watched = model_with(Monitored)
    assert watched.fit(X, Y, 8, 2, verbose=0, shuffle=False).history == logs
    for a, b in zip(numpy(plain.weights), numpy(watched.weights), strict=True):
        np.testing.assert_array_equal(a, b)
    oracle = MovingStatistics(6)
    for start in (0, 8, 16) * 2:
        oracle.see(X[start : start + 8])
    assert_seen(watched.layers[0], oracle)
    assert watched.layers[3].statistics().batches == 6


@pytest.mark.parametrize("back", [False, True])
def test_weights_are_those_of_the_plain_layer(back, tmp_path):
    kinds = [layers.BatchNormalization, Monitored]
    first, second = map(model_with, reversed(kinds) if back else kinds)
    random = np.random.default_rng(3)
    values = [random.uniform(1, 2, w.shape) for w in first.get_weights()]
    first.set_weights(values)
    first.save_weights(tmp_path / "model.weights.h5")
    second.load_weights(tmp_path / "model.weights.h5")
    expected = first.predict(X, verbose=0)
    np.testing.assert_array_equal(second.predict(X, verbose=0), expected)
    second.set_weights([0.0 * value for value in values])
    second.set_weights(first.get_weights())
    np.testing.assert_array_equal(second.predict(X, verbose=0), expected)
    assert len(first.weights) == len(second.weights)
