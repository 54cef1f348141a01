"""What the oldest supported Keras lacks, so that tests do without it there."""

import inspect

import keras
import pytest

needs_renorm = pytest.mark.skipif(
    "renorm"
    not in inspect.signature(keras.layers.BatchNormalization).parameters,
    reason="Keras before 3.14 has no batch renormalization",
)


class _Function(keras.regularizers.Regularizer):
    def __init__(self, function):
        self.function = function

    def __call__(self, x):
        return self.function(x)


def as_regularizer(function):
    """A function, which Keras before 3.14 takes only in a class."""
    try:
        keras.layers.Dense(1, kernel_regularizer=abs).build((None, 1))
    except ValueError:
        return _Function(function)
    return function
