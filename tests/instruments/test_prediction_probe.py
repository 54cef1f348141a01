import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.instruments.prediction_probe import PredictionProbe


@pytest.mark.skipif(
    keras.backend.backend() != "torch", reason="PyTorch's tensors"
)
def test_targets_that_numpy_cannot_read(digits):
    """Nor could it if they lay on a GPU."""
    x, y = digits[0], np.eye(3, dtype="float32")[digits[1]]
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(3, "softmax", name="head")]
    )
    model.compile("sgd", "categorical_crossentropy")
    expected = PredictionProbe(model, x, y, None, [])()
    targets = keras.ops.convert_to_tensor(y).requires_grad_()
    with pytest.raises((RuntimeError, TypeError)):
        np.asarray(targets)
    found = PredictionProbe(model, x, targets, None, [])()
    assert found[""].keys() == expected[""].keys()
    for quantity, values in expected[""].items():
        np.testing.assert_array_equal(found[""][quantity], values)
