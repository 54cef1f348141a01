"""Global state of Keras: scopes, seeds, the names it has given."""

import contextlib
from collections.abc import Iterator

from keras.src.backend.common import global_state
from keras.src.backend.common.stateless_scope import (
    in_stateless_scope as _in_stateless_scope,
)
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as _in_symbolic_scope,
)


def in_symbolic_scope() -> bool:
    """Whether Keras only asks a model for the shapes of its outputs."""
    return _in_symbolic_scope()


def in_stateless_scope() -> bool:
    """Whether other values replace those of the variables."""
    return _in_stateless_scope()


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """What is created inside the with-block does not change later names.

    Keras numbers the names that it gives.
    """
    counts = global_state.get_global_attribute("object_name_uids")
    before = {} if counts is None else dict(counts)
    try:
        yield
    finally:
        counts = global_state.get_global_attribute("object_name_uids")
        if counts is not None:
            counts.clear()
            counts.update(before)
