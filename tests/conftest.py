import gc
import importlib.util
import sys

import numpy as np
import pytest

HAS_KERAS = importlib.util.find_spec("keras") is not None


def pytest_addoption(parser):
    parser.addoption(
        "--long",
        action="store_true",
        help="also run the tests marked `long`, which take minutes",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "long: takes minutes; `make test-long` runs it"
    )
    config.addinivalue_line(
        "markers",
        "optimized: compares bits, exact sums or extremes of compiled code, "
        "so `make test` lets JAX optimize as it does for users",
    )
    config.addinivalue_line(
        "markers",
        "on_cpu: expects an error about a value; on an accelerator, values are "
        "not read",
    )
    if HAS_KERAS:
        compute_exactly()


def compute_exactly():
    """Turns off the shorter numbers of GPUs, since tests compare with NumPy."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "highest")
    if keras.backend.backend() == "torch":
        import torch

        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    skipped = pytest.mark.skip(reason="takes minutes: needs --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skipped)


@pytest.fixture(autouse=True, scope="module")
def older_objects_are_no_garbage():
    """So no collection walks through TensorFlow, which takes a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def seeded():
    if not HAS_KERAS:
        return
    import keras

    keras.utils.clear_session(free_memory=False)  # which takes 0.2 s
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def on_cpu(request, seeded):
    if not request.node.get_closest_marker("on_cpu"):
        yield
        return
    import keras

    with keras.device("cpu:0"):
        yield


@pytest.fixture(autouse=True)
def figures_are_closed():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def digits():
    """64 rows of 12 features in 3 classes, float32 and int32."""
    random = np.random.default_rng(0)
    x = random.normal(size=(64, 12)).astype("float32")
    return x, (x[:, :3].argmax(axis=1)).astype("int32")
