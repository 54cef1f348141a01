import gc

import keras
import numpy as np
import pytest


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "optimized: compares bits, exact sums or extremes of compiled code, "
        "so `make test` lets JAX optimize as it does for users",
    )


@pytest.fixture(autouse=True, scope="module")
def older_objects_are_no_garbage():
    """So no collection walks through TensorFlow, which takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.clear_session(free_memory=False)  # which takes 0.2 s
    keras.utils.set_random_seed(0)


@pytest.fixture
def digits():
    """64 rows of 12 features in 3 classes, float32 and int32."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 12)).astype("float32")
    return x, (x[:, :3].argmax(axis=1)).astype("int32")
