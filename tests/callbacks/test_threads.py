"""Two `fit` calls in two threads of one process."""

import random
import threading
import time

import keras
import numpy as np
import pytest
from keras import layers

import keras_concepts as kc
from keras_concepts import Recording, _backend
from keras_concepts._backend.keras_internals import other_threads_train
from watched_fits import X, Y, all_monitors, quiet_doctor


def network(name, rate=0.01):
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, "relu", kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1, name="head"),
        ],
        name=name,
    )
    for number, weight in enumerate(model.trainable_weights):
        random = np.random.default_rng(number)
        weight.assign(random.normal(size=weight.shape))
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model


def train(model, path):
    _ = model.fit(
        *(X, Y),
        batch_size=8,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=[*all_monitors(path), quiet_doctor(record_to=path)],
    )


def rows(path):
    return {
        (each.monitor, each.epoch, each.owner, str(each.quantity)): (
            each.steps.tolist(),
            each.index.tolist(),
            list(map(str, each.values)),
        )
        for each in Recording.load(path)
    }


def together(*functions):
    """Calls each in a thread; raises what any of them has raised."""
    errors = []

    def run(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    if errors:
        raise errors[0]


@pytest.mark.optimized
def test_each_recording_is_of_its_own_model(tmp_path):
    begin = threading.Barrier(2)

    def run(name, rate, path):
        model = network(name, rate)
        _ = begin.wait(60)
        train(model, path)

    rates = {"first": 0.01, "second": 0.1}
    together(
        *(
            lambda name=name, rate=rate: run(name, rate, tmp_path / name)
            for name, rate in rates.items()
        )
    )
    for name, rate in rates.items():
        train(network(name, rate), tmp_path / f"{name}-alone")
        found = rows(tmp_path / name)
        assert found == rows(tmp_path / f"{name}-alone")
        [recorded] = Recording.load(tmp_path / name).runs
        assert recorded.facts["model"] == name
        owners = {owner.partition("/")[0] for _, _, owner, _ in found}
        assert owners <= {name, "", "loss", "probe"}


class Pause:
    """A writer that gives other threads time, inside what the doctor does."""

    def __init__(self, act):
        self.act = act

    def write(self, recording, findings=()):
        self.act()


def test_nobody_draws_the_same_numbers_twice():
    """A doctor looks while a `fit` in another thread draws random numbers."""
    looks, drawn = threading.Event(), threading.Event()
    numbers = []

    def batches():
        yield X, Y
        yield X, Y  # Keras looks at the first ones, for their shapes
        yield X, Y
        assert looks.wait(60)
        numbers.extend(np.random.rand(5).tolist())  # noqa: NPY002, what others use
        drawn.set()
        while looks.is_set():
            time.sleep(0.01)
        numbers.extend(np.random.rand(5).tolist())  # noqa: NPY002, what others use
        yield X, Y

    def act():
        looks.set()
        assert drawn.wait(60)

    def other():
        _ = network("other").fit(
            batches(), steps_per_epoch=4, shuffle=False, verbose=0
        )

    def watched():
        own = quiet_doctor(log_to=Pause(act))
        _ = network("watched").fit(X, Y, epochs=1, verbose=0, callbacks=[own])
        looks.clear()

    together(other, watched)
    assert len(set(numbers)) == 10


def test_a_generator_in_another_thread_goes_on():
    """TensorFlow fetches batches ahead, while the doctor looks."""
    numbers = []

    def batches():
        while True:
            numbers.append(np.random.rand())  # noqa: NPY002, what others use
            yield X[:8], Y[:8]

    own = quiet_doctor(log_to=Pause(lambda: time.sleep(0.1)))
    _ = network("net").fit(
        batches(),
        steps_per_epoch=3,
        epochs=4,
        shuffle=False,
        verbose=0,
        callbacks=[own],
    )
    assert len(numbers) >= 12
    assert len(set(numbers)) == len(numbers)


def test_a_look_leaves_the_generators_of_one_thread():
    """If no other thread trains, a check's random numbers are drawn again."""
    random = np.random.RandomState
    assert not other_threads_train()
    np.random.seed(3)  # noqa: NPY002, what others use
    with _backend.kept_randomness():
        _ = np.random.rand(4)  # noqa: NPY002, what others use
    assert np.random.rand() == random(3).rand()  # noqa: NPY002, what others use


class Draws(keras.layers.Layer):
    """From a generator of the whole process."""

    def call(self, x):
        _ = random.random()
        return x


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return X, Y


def test_the_doctor_says_what_it_cannot_put_back():
    doctor = kc.callbacks.TrainingDoctor(sink=lambda text: None)
    model = keras.Sequential([Draws(), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    _ = model.fit(Batches(workers=2), verbose=0, callbacks=[doctor])
    assert any("other threads" in each for each in doctor.unchecked)
