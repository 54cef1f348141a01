"""The generators that everybody draws from."""

import contextlib
from collections.abc import Iterator

from tensorflow.python.eager import context

from keras_concepts._backend import stand_ins
from keras_concepts._backend.keras_internals import (
    kept_common_randomness,
    other_threads_train,
)

quick_dropout = stand_ins.quick_dropout

_OTHER_SEEDS = 987_654_321


@contextlib.contextmanager
def kept_randomness() -> Iterator[None]:
    # `tf.random.normal` and the like take their seeds from this generator
    # where they are called eagerly, after `tf.random.set_seed`.
    seeds = getattr(context.context(), "_rng", None)
    with kept_common_randomness():
        if seeds is None or other_threads_train():  # who draw from it too
            yield
            return
        state = seeds.getstate()
        # Other ones, since the kernel of a seed goes on where it stands.
        seeds.seed(_OTHER_SEEDS)
        try:
            yield
        finally:
            seeds.setstate(state)


def fixed_randomness(seed: int) -> contextlib.AbstractContextManager[None]:
    del seed  # Keras calls the stateless operations, each with its seed
    return contextlib.nullcontext()
