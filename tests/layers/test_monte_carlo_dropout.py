import keras
import numpy as np
import pytest

from keras_concepts.layers import MonteCarloDropout


def model():
    return keras.Sequential(
        [keras.Input((4, 50)), MonteCarloDropout(0.2, (None, 1, None), seed=1)]
    )


def test_stays_on_at_inference():
    x = np.ones((40, 4, 50), "float32")
    first, second = (m.predict(x, verbose=0) for m in [model()] * 2)
    for y in (first, second):
        np.testing.assert_allclose(np.unique(y), [0.0, 1.25])
        # 2000 masks: 5 standard deviations of their mean.
        assert abs((y[:, 0] == 0.0).mean() - 0.2) < 5 * np.sqrt(0.16 / 2000)
        np.testing.assert_array_equal(y[:, 0], y[:, 3])
    assert not np.array_equal(first, second)


def test_ignores_training():
    layer = MonteCarloDropout(0.5, seed=0)
    x = np.ones((1, 100), "float32")
    for training in (True, False, None):
        y = keras.ops.convert_to_numpy(layer(x, training=training))
        assert set(y[0]) == {0.0, 2.0}


def test_survives_saving(tmp_path):
    model().save(tmp_path / "model.keras")
    layer = keras.saving.load_model(tmp_path / "model.keras").layers[0]
    assert type(layer) is MonteCarloDropout
    assert layer.get_config()["rate"] == 0.2
    assert layer.get_config()["seed"] == 1


def test_rate_is_checked():
    with pytest.raises(ValueError, match=r"`rate`.*between 0 and 1"):
        MonteCarloDropout(1.5)
