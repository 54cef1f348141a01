"""The one place that names this package's classes in saved files."""

from typing import TypeVar

import keras

Part = TypeVar("Part", bound=type)


def serializable(cls: Part) -> Part:
    """Lets Keras save and load a class, as `keras_concepts>ClassName`.

    Who loads a file that names the class must have imported this package.
    """
    register = keras.saving.register_keras_serializable("keras_concepts")
    return register(cls)
