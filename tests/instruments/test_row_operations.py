"""Operations of a row against numbers counted by hand."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.instruments.row_operations import row_operations


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        ((5,), lambda: layers.Dense(3), 15),
        ((7, 5), lambda: layers.Dense(3), 7 * 15),
        ((8, 8, 3), lambda: layers.Conv2D(4, 3), 36 * 9 * 3 * 4),
        ((8, 8, 3), lambda: layers.DepthwiseConv2D(3), 36 * 9 * 3),
        ((6, 5), lambda: layers.SimpleRNN(4), 6 * (5 * 4 + 4 * 4)),
        ((6, 5), lambda: layers.LayerNormalization(), 0),
        ((None, 5), lambda: layers.Dense(3), 15),
    ],
)
def test_of_a_layer(shape, layer, expected):
    model = keras.Sequential([keras.Input(shape), layer()])
    assert row_operations(model) == expected


def test_a_table_is_looked_up():
    inputs = keras.Input((9,), dtype="int32")
    model = keras.Sequential([inputs, layers.Embedding(100, 4)])
    assert row_operations(model) == 0.0


def test_a_layer_that_is_called_twice_counts_once_at_least():
    layer = layers.Dense(5)
    inputs = keras.Input((5,))
    model = keras.Model(inputs, layer(layer(inputs)))
    assert row_operations(model) == 25


def test_of_a_model_that_is_no_graph():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Model()
    _ = model(np.zeros((1, 5)))
    assert row_operations(model) == 15
