"""What a layer measures of itself, in a variable that nothing trains."""

from typing import Any

import keras


def measured_variable(rows: int, units: int, name: str) -> Any:
    """A variable of zeros, `(rows, units)`.

    It is float32 whatever the dtype policy. Under `tf.distribute` each replica
    has a copy of its own; see `_backend.values_of_replicas`.
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
