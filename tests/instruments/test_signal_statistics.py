import numpy as np
import pytest

from keras_concepts.instruments.signal_statistics import memory_horizon


@pytest.mark.parametrize(
    ("by_lag", "steps"),
    [
        ([1.0, 0.5, 0.02, 0.009, 0.0], 3),
        ([1.0, 0.001, 0.001, 0.02, 0.001], 4),  # strong again farther back
        ([0.001, 1.0, 0.02], 3),
        ([0.0, 0.0], 0),
        ([], 0),
        ([np.nan, 1.0], 0),
        ([np.inf, 1.0], 0),
    ],
)
def test_horizon_is_the_last_step_above_one_percent(by_lag, steps):
    assert memory_horizon(np.array(by_lag, np.float64)) == steps
