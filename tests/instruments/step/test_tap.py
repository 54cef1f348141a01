"""The protocol of a tap, with one that counts the labels of each batch."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import ops

from keras_concepts import _backend
from keras_concepts.instruments.step.schedule import Schedule
from keras_concepts.instruments.step.step_observer import StepObserver
from keras_concepts.instruments.step.train_function import ObservedTrainFunction


class LabelTap:
    """Sum of the labels, and the largest absolute output of the model."""

    def __init__(self, model, capacity=8):
        self.model = model
        self.capacity = capacity
        self.entered = self.left = 0

    @functools.cached_property
    def buffer(self):
        return _backend.StepBuffer(self.capacity, 3, 0)

    @contextlib.contextmanager
    def capture(self, step):
        assert step.model is self.model
        assert step.updates == []
        self.entered += 1
        captured = {}
        original = self.model.compute_loss

        def compute_loss(
            x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            captured["labels"] = ops.sum(y)
            return original(x, y, y_pred, sample_weight, training)

        try:
            with (
                _backend.shadow_in_step(
                    self.model, "compute_loss", compute_loss
                ),
            ):
                yield captured
        finally:
            self.left += 1

    def record(self, step, captured):
        labels = keras.utils.unpack_x_y_sample_weight(step.batch)[1]
        row = [captured["labels"], ops.sum(labels), step.update.applied]
        row = ops.stack([ops.cast(x, "float32") for x in row])
        self.buffer.append(row, ops.zeros((0,)))

    def read(self, steps):
        [(rows, _, count)] = self.buffer.read()
        self.buffer.clear()
        return list(zip(steps, np.array(rows[:count]).tolist(), strict=False))


class Attach(keras.callbacks.Callback):
    def __init__(self, *observers):
        super().__init__()
        self.observers = observers

    def on_epoch_begin(self, epoch, logs=None):
        for observer in self.observers:
            ObservedTrainFunction.attach(self.model, observer)
            observer.begin_epoch(self.params["steps"])

    def on_train_end(self, logs=None):
        for observer in self.observers:
            ObservedTrainFunction.detach(observer)


def make():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=False)
    return model


X, Y = np.ones((12, 2), "float32"), np.arange(12.0, dtype="float32")[:, None]


def fit(model, *observers):
    model.fit(X, Y, 2, shuffle=False, verbose=0, callbacks=[Attach(*observers)])


@pytest.mark.parametrize("every", [1, 2])
def test_what_is_captured_is_recorded(every):
    model = make()
    tap = LabelTap(model)
    observer = StepObserver("toy", tap, Schedule(every), first_step=10)
    fit(model, observer)
    [samples] = observer.read()
    assert samples == [
        (10 + i, [4.0 * i + 1.0, 4.0 * i + 1.0, 1.0])
        for i in range(0, 6, every)
    ]
    assert observer.read() == []
    assert tap.entered == tap.left > 0


def test_two_taps_capture_the_same():
    model = make()
    observers = [
        StepObserver("toy", LabelTap(model), Schedule(), first_step=0)
        for _ in range(2)
    ]
    fit(model, *observers)
    first, second = (observer.read() for observer in observers)
    assert first == second
    assert len(first[0]) == 6


def test_a_full_buffer_is_read():
    model = make()
    read = []
    waiting = StepObserver("a", LabelTap(model, 4), Schedule(), 0)
    asking = StepObserver("b", LabelTap(model, 4), Schedule(), 0, read.append)
    fit(model, waiting, asking)
    assert [len(samples) for samples in waiting.read()] == [4, 2]
    assert [len(samples) for samples in read] == [4]
    assert [len(samples) for samples in asking.read()] == [2]


@pytest.mark.parametrize("where", ["capture", "record"])
def test_a_tap_that_raises_leaves_nothing_patched(where):
    model = make()
    tap, other = LabelTap(model), LabelTap(model)

    def explode(*args):
        raise RuntimeError("boom")

    setattr(tap, where, explode)
    observers = [
        StepObserver("toy", each, Schedule(), 0) for each in (other, tap)
    ]
    with pytest.raises(RuntimeError, match="boom"):
        fit(model, *observers)
    assert other.entered == other.left == 1
    for instance in (model, model.optimizer, *model.metrics):
        for value in vars(instance).values():
            assert "keras_concepts" not in str(getattr(value, "__module__", ""))
            assert "test_tap" not in getattr(value, "__qualname__", "")
