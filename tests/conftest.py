import importlib.util

import numpy as np
import pytest

HAS_KERAS = importlib.util.find_spec("keras") is not None


@pytest.fixture(autouse=True)
def seeded():
    if not HAS_KERAS:
        return
    import keras

    keras.utils.clear_session(free_memory=False)  # which takes 0.2 s
    keras.utils.set_random_seed(0)


@pytest.fixture
def digits():
    """64 rows of 12 features in 3 classes, float32 and int32."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 12)).astype("float32")
    return x, (x[:, :3].argmax(axis=1)).astype("int32")
