"""The first batches of data, without consuming them."""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Any

import keras

from keras_concepts import _backend


def few_batches(
    owner: str, data: Any, most: int, seconds: float
) -> Iterator[Any]:
    """The first batches of a dataset that can be read repeatedly.

    The next reader gets the same batches as without this call.

    Args:
        owner: Name of the function that takes the data, for messages.
        data: A `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader`, or a
            list of batches.
        most: Maximum number of batches.
        seconds: Time limit, after which no further batch is taken.

    Raises:
        TypeError: It is an iterator or generator, which can be read only once,
            or cannot be iterated over.
        ValueError: Reading it would change its shuffling order.
    """
    started = time.monotonic()
    with (
        _backend.kept_randomness(),
        _backend.names_kept(),
        _generators_kept(data),
    ):
        batches = itertools.islice(_batches(owner, data), most)
        for batch in batches:
            yield batch
            if time.monotonic() - started > seconds:
                return


def _batches(owner: str, data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        numbers = itertools.count() if count is None else range(count)
        return map(data.__getitem__, numbers)
    if type(data).__module__.split(".")[0] == "tensorflow":
        from keras_concepts._backend.tf_data import independent_copy

        copy = independent_copy(data)
        if copy is None:
            raise ValueError(
                f"`x` of `{owner}` shuffles in a way that cannot be copied, "
                "and reading it would change the order of your next epoch. "
                "Pass arrays, or a list of a few batches such as "
                "`list(dataset.take(4))` of a separate dataset. Received: "
                f"x={type(data).__name__}."
            )
        data = copy
    try:
        iterator = iter(data)
    except TypeError as error:
        raise TypeError(
            f"`x` of `{owner}` must be arrays, or batches in a "
            "`tf.data.Dataset`, `PyDataset`, `DataLoader` or list. "
            f"Received: {type(data).__name__}."
        ) from error
    if iterator is data:
        raise TypeError(
            f"`x` of `{owner}` is an iterator or generator, which can be read "
            "only once: reading it would take batches away from `fit`. Pass "
            "arrays, or a list of a few batches from a new one. Received: "
            f"{type(data).__name__}."
        )
    return iterator


@contextlib.contextmanager
def _generators_kept(data: Any) -> Iterator[None]:
    """Restores the random generators passed to a `DataLoader`."""
    parts = [data, getattr(data, "sampler", None)]
    parts += [getattr(data, "batch_sampler", None)]
    generators: list[Any] = [getattr(p, "generator", None) for p in parts]
    kept = {
        id(each): (each, each.get_state())
        for each in generators
        if hasattr(each, "get_state") and hasattr(each, "set_state")
    }
    try:
        yield
    finally:
        for generator, state in kept.values():
            generator.set_state(state)
