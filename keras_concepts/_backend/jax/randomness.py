"""The random generators that are shared."""

import contextlib

from keras_concepts._backend import stand_ins
from keras_concepts._backend.keras_internals import kept_common_randomness

quick_dropout = stand_ins.quick_dropout


def kept_randomness() -> contextlib.AbstractContextManager[None]:
    return kept_common_randomness()


def fixed_randomness(seed: int) -> contextlib.AbstractContextManager[None]:
    del seed  # JAX has no generator: every draw is passed its seed
    return contextlib.nullcontext()
