"""The random generators that are shared."""

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
    # After `tf.random.set_seed`, `tf.random.normal` and similar functions take
    # their seeds from this generator when they are called eagerly.
    seeds = getattr(context.context(), "_rng", None)
    with kept_common_randomness():
        if seeds is None or other_threads_train():  # they draw from it too
            yield
            return
        state = seeds.getstate()
        # Different seeds, since a seed's kernel continues where it stopped.
        seeds.seed(_OTHER_SEEDS)
        try:
            yield
        finally:
            seeds.setstate(state)


def fixed_randomness(seed: int) -> contextlib.AbstractContextManager[None]:
    del seed  # Keras calls stateless operations and passes a seed to each
    return contextlib.nullcontext()
