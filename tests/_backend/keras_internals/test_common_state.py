import random

import keras
import numpy as np
import pytest

from keras_concepts._backend.keras_internals import (
    in_symbolic_scope,
    kept_common_randomness,
    names_kept,
)


def test_in_symbolic_scope():
    """Keras marks the calls in which it only asks for shapes."""
    found = []

    class Ask(keras.layers.Layer):
        def call(self, x):
            found.append(in_symbolic_scope())
            return x

    layer = Ask()
    _ = layer(np.ones((2, 3), "float32"))
    assert found == [False]
    found.clear()
    _ = layer(keras.Input((3,)))
    assert set(found) == {True}
    assert not in_symbolic_scope()


@pytest.mark.parametrize("is_made", [True, False])
def test_kept_common_randomness(is_made):
    """Without a seed Keras draws from one generator, made at the first draw.

    It stands in its table of global attributes, and its seed is Python's.
    """

    def draws():
        return (
            random.random(),
            float(np.random.random()),  # noqa: NPY002
            float(keras.random.uniform(())),
        )

    def begin():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(3)
        if is_made:
            _ = draws()

    begin()
    expected = [draws(), draws()]
    begin()
    with kept_common_randomness():
        assert [draws(), draws()] == expected
    assert [draws(), draws()] == expected


def test_names_kept():
    """Keras numbers the names that it gives, kind by kind, in one table."""
    assert keras.layers.Dense(1).name == "dense"
    with names_kept():
        assert keras.layers.Dense(1).name == "dense_1"
        assert keras.layers.Dropout(0.5).name == "dropout"
    assert keras.layers.Dense(1).name == "dense_1"
    assert keras.layers.Dropout(0.5).name == "dropout"
