import random
import threading

import keras
import numpy as np
import pytest

from keras_concepts._backend.keras_internals import (
    generators_left_moved,
    kept_common_randomness,
    other_threads_train,
    others_may_draw,
)

X = np.zeros((4, 2), "float32")
Y = np.zeros((4, 1), "float32")


def fit(at_batch, **data):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    called = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: at_batch()
    )
    model.fit(**(data or {"x": X, "y": Y}), verbose=0, callbacks=[called])


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return X, Y


@pytest.mark.parametrize("is_made", [True, False])
def test_kept_common_randomness(is_made):
    """Without a seed Keras draws from one generator, made at the first draw.

    It stands in its table of global attributes, and its seed is Python's.
    """

    def draws():
        return (
            random.random(),
            float(np.random.random()),  # noqa: NPY002, what others use
            float(keras.random.uniform(())),
        )

    def begin():
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(3)
        if is_made:
            _ = draws()

    begin()
    expected = [draws(), draws()]
    begin()
    with kept_common_randomness():
        assert [draws(), draws()] == expected
    assert [draws(), draws()] == expected


def test_other_threads_train():
    """`fit` of Keras keeps its iterator in a variable `epoch_iterator`."""
    found = []
    fit(lambda: found.append(other_threads_train()))
    assert found == [False]
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        go_on.wait(60)

    thread = threading.Thread(target=fit, args=(wait,))
    thread.start()
    begun.wait(60)
    try:
        assert other_threads_train()
    finally:
        go_on.set()
        thread.join()
    assert not other_threads_train()


def test_others_may_draw():
    """Keras asks a `PyDataset` with workers for its batches in threads."""
    found = []
    fit(lambda: found.append(others_may_draw()))
    fit(lambda: found.append(others_may_draw()), x=Batches(workers=2))
    assert found == [False, True]
    assert not others_may_draw()


def test_generators_left_moved():
    """Keras makes the batches of a `PyDataset` with workers in threads."""
    drawn = []

    def draw():
        with kept_common_randomness():
            drawn.append(random.random())

    before = generators_left_moved()
    fit(draw)
    fit(draw)
    assert generators_left_moved() == before
    fit(draw, x=Batches(workers=2))
    assert generators_left_moved() == before + 1


def test_a_batch_before_fit_has_its_iterator():
    """Keras reads the first batch of a generator while it makes one."""
    found = []

    def batches():
        found.append(others_may_draw())
        yield X, Y

    fit(lambda: None, x=batches(), steps_per_epoch=1, shuffle=False)
    assert found == [False]
