"""What a layer measures about itself, in a variable that is not trained."""

from typing import Any

import keras


def measured_variable(rows: int, units: int, name: str) -> Any:
    """A variable of zeros, `(rows, units)`.

    It is float32 under every dtype policy. Under `tf.distribute` each replica
    has its own copy; see `_backend.values_of_replicas`.
    """
    return keras.Variable(
        "zeros",
        shape=(rows, units),
        dtype="float32",
        trainable=False,
        autocast=False,
        synchronization="on_read",
        aggregation="only_first_replica",
        name=name,
    )
