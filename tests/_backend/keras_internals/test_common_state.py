import keras
import numpy as np

from keras_concepts._backend.keras_internals import (
    in_stateless_scope,
    in_symbolic_scope,
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


def test_in_stateless_scope():
    """In `StatelessScope` other values stand in for those of variables."""
    assert not in_stateless_scope()
    with keras.StatelessScope():
        assert in_stateless_scope()
    assert not in_stateless_scope()


def test_names_kept():
    """Keras numbers the names that it gives, kind by kind, in one table."""
    assert keras.layers.Dense(1).name == "dense"
    with names_kept():
        assert keras.layers.Dense(1).name == "dense_1"
        assert keras.layers.Dropout(0.5).name == "dropout"
    assert keras.layers.Dense(1).name == "dense_1"
    assert keras.layers.Dropout(0.5).name == "dropout"
