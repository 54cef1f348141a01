import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts._backend.keras_internals import name_in_logs, say_direction

X = np.ones((4, 3), "float32")
Y = np.ones((4, 2), "float32")


def asking(name, found):
    """A metric that notes under which name Keras keeps its result."""

    class Ask(keras.metrics.MeanSquaredError):
        def result(self):
            found.append(name_in_logs(self))
            return super().result()

    return Ask(name)


def test_name_in_logs():
    """The container of compiled metrics asks each for its result, in a loop.

    There, a variable `name` distinguishes two of one name.
    """
    found = {"b": [], "c": [], "other": []}
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, {name: layers.Dense(2, name=name)(inputs) for name in "bc"}
    )
    metrics = {
        "b": [asking("same", found["b"]), asking("other", found["other"])],
        "c": [asking("same", found["c"])],
    }
    model.compile("sgd", "mse", metrics=metrics, run_eagerly=True)
    logs = model.test_on_batch(X, {"b": Y, "c": Y}, return_dict=True)
    assert {name: set(each) for name, each in found.items()} == {
        "b": {"b_same"},
        "c": {"c_same"},
        "other": {"other"},
    }
    assert {"b_same", "c_same"} <= set(logs)
    found["b"].clear()
    _ = metrics["b"][0].result()
    assert found["b"] == [None]


@pytest.mark.parametrize(
    ("direction", "values"), [("up", [1.0, 2.0]), ("down", [2.0, 1.0])]
)
def test_say_direction(direction, values):
    """`mode="auto"` asks the metric which values are better."""
    metric = keras.metrics.MeanMetricWrapper(
        keras.losses.mean_squared_error, name="own"
    )
    say_direction(metric, direction)
    for seen, stops in [(values, False), (values[::-1], True)]:
        model = keras.Sequential([layers.Dense(2)])
        model.compile("sgd", "mse", metrics=[metric], run_eagerly=True)
        _ = model.test_on_batch(X, Y)
        stopping = keras.callbacks.EarlyStopping("val_own", patience=1)
        stopping.set_model(model)
        stopping.on_train_begin()
        model.stop_training = False
        for epoch, value in enumerate(seen):
            stopping.on_epoch_end(epoch, {"val_own": value})
        assert model.stop_training is stops
