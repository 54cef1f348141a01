"""What Keras keeps for everybody: scopes, seeds, the names it has given."""

import contextlib
import random
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import ops
from keras.src.backend.common import global_state
from keras.src.backend.common.symbolic_scope import (
    in_symbolic_scope as _in_symbolic_scope,
)


def in_symbolic_scope() -> bool:
    """Whether Keras only asks a model for the shapes of its outputs."""
    return _in_symbolic_scope()


@contextlib.contextmanager
def kept_common_randomness() -> Iterator[None]:
    """Puts the generators that no backend owns back to where they were.

    Python's, NumPy's, Keras' global one, and PyTorch's, whose loaders may feed
    any backend.
    """
    name = "global_seed_generator"
    generator = global_state.get_global_attribute(name)
    seed = None
    if generator is not None:
        # A copy: the variable's own memory may be written to.
        seed = ops.convert_to_numpy(generator.state.value).copy()
    python = random.getstate()
    numpy = np.random.get_state()  # noqa: NPY002, what others may draw from
    torch: Any = sys.modules.get("torch")
    loaders = None if torch is None else torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if torch is not None:
            torch.random.set_rng_state(loaders)
        # One that was made inside is gone: its seed was drawn from Python's.
        global_state.set_global_attribute(name, generator)
        if generator is not None:
            generator.state.assign(seed)


@contextlib.contextmanager
def names_kept() -> Iterator[None]:
    """What is made inside the with-block takes no name from what comes later.

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
