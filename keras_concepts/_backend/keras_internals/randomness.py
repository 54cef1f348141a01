"""Shared random generators, and who may be drawing from them."""

import contextlib
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops
from keras.src.backend.common import global_state
from keras.src.trainers.data_adapters.generator_data_adapter import (
    GeneratorDataAdapter,
)
from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter
from keras.src.trainers.data_adapters.tf_dataset_adapter import TFDatasetAdapter


class Generator(NamedTuple):
    """A random generator that the whole process shares.

    Attributes:
        get: Returns its state.
        set: Sets its state.
        same: Whether two states are equal.
    """

    get: Callable[[], Any]
    set: Callable[[Any], Any]
    same: Callable[[Any, Any], bool]


def _same_states(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@contextlib.contextmanager
def kept_common_randomness(*more: Generator) -> Iterator[None]:
    """Restores the generators that no backend owns after the with-block.

    These are Python's, NumPy's, Keras' global one, and PyTorch's, whose loaders
    may feed any backend. All but Keras' are shared by the whole process: if
    other threads may have drawn from one in the meantime, it is not restored,
    so that no number is drawn twice.

    Args:
        *more: Generators of the backend.
    """
    name = "global_seed_generator"
    generator = global_state.get_global_attribute(name)  # of this thread
    seed = None
    if generator is not None:
        # A copy: the memory of the variable may be overwritten.
        seed = ops.convert_to_numpy(generator.state.value).copy()
    of_process = [
        Generator(random.getstate, random.setstate, lambda a, b: a == b),
        Generator(np.random.get_state, np.random.set_state, _same_states),
        *more,
    ]
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        own = torch.random
        of_process.append(
            Generator(own.get_rng_state, own.set_rng_state, torch.equal)
        )
    before = [each.get() for each in of_process]
    try:
        yield
    finally:
        drawn = [
            (each, state)
            for each, state in zip(of_process, before, strict=True)
            if not each.same(state, each.get())
        ]
        if drawn and others_may_draw():
            _left.moved = generators_left_moved() + 1
            drawn = []
        for each, state in drawn:
            each.set(state)
        # One created inside is dropped: its seed was drawn from Python's.
        global_state.set_global_attribute(name, generator)
        if generator is not None:
            generator.state.assign(seed)


# How often this thread could not restore the generators.
_left = threading.local()


def generators_left_moved() -> int:
    """How often `kept_common_randomness` did not restore the generators.

    In this thread, because others might have drawn from them meanwhile.
    """
    return getattr(_left, "moved", 0)


def others_may_draw() -> bool:
    """Whether other threads train, or make the batches of the running `fit`.

    The whole process draws random numbers from the same generators.
    """
    return other_threads_train() or any(
        _is_fed_by_threads(fit.f_locals.get("epoch_iterator"))
        for fit in _fits(sys._getframe(1))
    )


def other_threads_train() -> bool:
    """Whether a `fit` of Keras runs in another thread."""
    here = threading.get_ident()
    return any(
        thread != here and next(_fits(frame), None) is not None
        for thread, frame in sys._current_frames().items()
    )


def _fits(frame: Any) -> Iterator[Any]:
    """Frames of each `fit` of Keras' own in the call stack of a frame."""
    while frame is not None:
        code = frame.f_code
        if code.co_name == "fit" and "epoch_iterator" in code.co_varnames:
            yield frame
        frame = frame.f_back


def _is_fed_by_threads(iterator: Any) -> bool:
    """Whether Python code may run in another thread to make a batch."""
    # Keras reads a first batch before `fit` has its iterator.
    adapter: Any = getattr(iterator, "data_adapter", None)
    if isinstance(adapter, TFDatasetAdapter):
        return True
    prefetches = keras.backend.backend() == "tensorflow"
    if isinstance(adapter, PyDatasetAdapter):
        return prefetches or adapter.enqueuer is not None
    return prefetches and isinstance(adapter, GeneratorDataAdapter)
