"""Slopes from the output are those that autograd takes from the input."""

import keras
import numpy as np
import pytest

from keras_concepts._numerics.activation_slopes import slope_of
from keras_concepts._numerics.saturation import SLOPE_OF_OUTPUT


@pytest.mark.parametrize("name", SLOPE_OF_OUTPUT)
def test_slope_from_output_and_from_input(name):
    function = keras.activations.get(name)
    z = keras.ops.convert_to_tensor(
        np.linspace(-4.25, 4.25, 18, dtype="float32")
    )
    from_output = SLOPE_OF_OUTPUT[name](function(z))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(from_output),
        keras.ops.convert_to_numpy(slope_of(function)(z)),
        rtol=1e-4,  # 1 - a cancels where the function is flat
        atol=1e-6,
    )
