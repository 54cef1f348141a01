"""Two words hold what one float32 loses."""

import keras
import numpy as np

from keras_concepts._numerics.words import add_to, exact_floats, total_of


def added(*addends):
    """The sum of addends that are added to 0 one after the other."""
    words = keras.ops.zeros((2, 1))
    for addend in addends:
        words = add_to(words, keras.ops.convert_to_tensor(addend[None]))
    return total_of(keras.ops.convert_to_numpy(words), "float64").item()


def test_longer_than_float32_counts():
    """2^24 + 1 is 2^24 in float32; so is the count after a week."""
    counts = np.array([2**24, 1, 2**31 - 1, 1], "int32")
    assert added(*counts) == 2**24 + 2**31 + 1


def test_sums_of_small_and_large():
    assert added(*np.array([2.0**24] + [0.25] * 8, "float32")) == 2**24 + 2


def test_integers_in_exact_parts():
    numbers = np.array([0, 1, -1, 2**24 + 1, 2**31 - 1, -(2**31)], "int32")
    parts = exact_floats(keras.ops.convert_to_tensor(numbers))
    high, low = (keras.ops.convert_to_numpy(p).astype("int64") for p in parts)
    np.testing.assert_array_equal(high + low, numbers)
    assert ((low >= 0) & (low < 2**16)).all()


def test_total_on_the_host_is_that_on_the_device():
    random = np.random.default_rng(0)
    words = random.normal(size=(3, 50)) * [[2.0**20], [1.0], [2.0**-20]]
    words = words.astype("float32")
    on_device = total_of(keras.ops.convert_to_tensor(words))
    np.testing.assert_array_equal(
        total_of(words), keras.ops.convert_to_numpy(on_device)
    )
