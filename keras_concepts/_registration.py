"""The one place that names this package's classes in saved files."""

from typing import TypeVar

import keras

Part = TypeVar("Part", bound=type)


def serializable(cls: Part) -> Part:
    """Lets Keras save and load a class, as `keras_concepts>ClassName`.

    To load a file that names the class, this package must be imported.
    """
    register = keras.saving.register_keras_serializable("keras_concepts")
    return register(cls)
