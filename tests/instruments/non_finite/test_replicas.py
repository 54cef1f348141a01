"""What replicas of a distributed training saw, as one fault."""

import keras
import numpy as np

from keras_concepts.instruments.non_finite.non_finite_tap import NonFiniteTap

# Loss, samples; loss, gradient and weight bad; loss and gradient known.
STEP = [1.0, 8.0, 0.0, 1.0, 0.0, 1.0, 1.0]


class Buffer:
    def __init__(self, replicas):
        self.replicas = replicas

    def read(self):
        return [
            (np.asarray([row], "float32"), np.zeros(0), 1)
            for row in self.replicas
        ]

    def clear(self):
        pass


def tap_of(*details):
    """Of replicas, each with the entries of its row that are not 0."""
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(2, name="first"),
            keras.layers.Dense(1, name="last"),
        ]
    )
    model.compile("sgd", "mse")
    tap = NonFiniteTap(model, capacity=1)
    layers, variables = len(tap.layers), len(tap.variables)
    width = len(STEP) + 6 + 5 * layers + 4 * variables
    rows = np.zeros((len(details), width))
    rows[:, : len(STEP)] = STEP
    inputs, events = len(STEP), len(STEP) + 6
    names = [layer.name for layer in tap.layers]
    for row, found in zip(rows, details, strict=True):
        row[-2 * variables : -variables] = 1.0  # gradients of all are NaN
        for name, value in found.items():
            if name == "x":
                row[inputs : inputs + 2] = value
            else:  # an output
                start = events + 4 * names.index(name) + 2
                row[start : start + 2] = value
    tap.buffer = Buffer(rows)
    return tap


def fault_of(*details):
    [fault] = tap_of(*details).read([0]).faults
    return fault


def test_an_input_of_the_last_replica_comes_first():
    fault = fault_of({}, {"x": (2.0, 1.0), "first": (2.0, 4.0)})
    assert (fault.kind, fault.layer, fault.count) == ("input", "x", 3)


def test_entries_of_all_replicas_are_counted():
    fault = fault_of({"x": (2.0, 0.0)}, {"x": (1.0, 0.0)})
    assert fault.count == 3


def test_the_first_layer_of_any_replica():
    fault = fault_of(
        {"last": (4.0, 8.0)}, {"first": (2.0, 1.0)}, {"first": (2.0, 5.0)}
    )
    assert (fault.kind, fault.layer.split("/")[-1]) == ("activation", "first")
    assert fault.count == 6


def test_the_loss_of_all():
    samples = tap_of({}, {}).read([0])
    assert samples.loss.tolist() == [1.0]
    [fault] = samples.faults
    assert fault.kind == "gradient"
    assert "although the loss is finite" in fault.where
