import inspect

import keras
import numpy as np
import pytest
from keras import ops
from keras.optimizers import Muon

from keras_concepts._backend.keras_internals import (
    calls_of_optimizer,
    capture_reduced_gradients,
    learning_rate_of_update,
    optimized_variables,
    optimizer_variables,
    optimizers_of,
    running_optimizer,
    strategy_of_optimizer,
    weight_decay,
)


class Ask(keras.constraints.Constraint):
    """Notes what a function gives while an optimizer constrains a variable."""

    def __init__(self, function):
        self.function = function
        self.found = []

    def __call__(self, w):
        self.found.append(self.function())
        return w


def variable(value=2.0, constraint=None, shape=(2, 2)):
    made = keras.Variable(np.full(shape, value, "float32"), name="kernel")
    made.constraint = constraint
    return made


def apply(optimizer, made, gradient=0.0):
    optimizer.apply([ops.full(made.shape, gradient, "float32")], [made])


def test_running_optimizer():
    """`apply` is on top of the stack of name scopes while it constrains."""
    ask = Ask(running_optimizer)
    optimizer = keras.optimizers.SGD(0.1)
    apply(optimizer, variable(constraint=ask))
    assert ask.found == [optimizer]
    assert running_optimizer() is None
    with keras.name_scope("other"):
        assert running_optimizer() is None


def test_learning_rate_of_update():
    """`_iterations` counts the calls of `apply`, after the constraints."""
    ask = Ask(lambda: float(learning_rate_of_update(running_optimizer())))
    apply(keras.optimizers.SGD(0.25), variable(constraint=ask))
    assert ask.found == [0.25]
    ask.found.clear()
    optimizer = keras.optimizers.SGD(0.25, gradient_accumulation_steps=3)
    made = variable(constraint=ask)
    values = []
    for _ in range(6):
        apply(optimizer, made, gradient=1.0)
        values.append(float(made.numpy()[0, 0]))
    assert ask.found == [0.0, 0.0, 0.25] * 2
    assert values == [2.0, 2.0, 1.75, 1.75, 1.75, 1.5]


def test_calls_of_optimizer():
    """`iterations` counts updates, `_iterations` each call of `apply`."""
    optimizer = keras.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    made = variable()
    for _ in range(3):
        apply(optimizer, made)
    assert int(ops.convert_to_numpy(calls_of_optimizer(optimizer))) == 3
    assert int(ops.convert_to_numpy(optimizer.iterations)) == 1


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="only inside a compiled step"
)
def test_calls_of_a_scaled_optimizer():
    """A skipped call is not counted, but halves the scale."""
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())
    made = variable()
    apply(optimizer, made)
    apply(optimizer, made, np.inf)
    assert int(ops.convert_to_numpy(calls_of_optimizer(optimizer))) == 1
    assert (
        float(ops.convert_to_numpy(optimizer.dynamic_scale))
        == optimizer.initial_scale / 2
    )


def test_calls_of_an_optimizer_by_a_user():
    class Skips(keras.optimizers.SGD):
        def apply(self, *args, **kwargs):
            pass

    assert calls_of_optimizer(Skips()) is None


def test_optimizers_of():
    """Keras tracks no optimizer but `optimizer`: others are in attributes."""
    first, second, third = (keras.optimizers.SGD() for _ in range(3))

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.other = first
            self.more = {"two": [second], "one": first}
            self.dense = keras.layers.Dense(1)
            self.dense.own = third

    model = Own()
    model.compile(first)
    assert optimizers_of(model)[0] is model.optimizer
    found = {id(optimizer) for optimizer in optimizers_of(model)}
    assert found == set(map(id, (first, second, third)))


def test_optimizer_variables():
    """What an optimizer keeps is in its `variables`, once it is built."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.extra = keras.optimizers.SGD(0.1)
    assert len(optimizer_variables(model)) == 4  # iterations, learning rate
    model.optimizer.build(model.trainable_variables)
    found = {id(each) for each in optimizer_variables(model)}
    assert len(found) == 6
    assert {id(each) for each in model.optimizer.momentums} <= found
    assert id(model.extra.iterations) in found


def test_optimized_variables():
    """An optimizer keeps the variables it was built for, in their order."""
    made = [variable(), variable()]
    optimizer = keras.optimizers.SGD()
    assert optimized_variables(optimizer) == []
    optimizer.build(made)
    assert [id(each) for each in optimized_variables(optimizer)] == [
        *map(id, made)
    ]


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "Lion"])
def test_weight_decay(kind):
    """Without a gradient, decay is all that an update does."""
    decayed, excluded = variable(), variable()
    optimizer = getattr(keras.optimizers, kind)(0.5, weight_decay=0.1)
    optimizer.exclude_from_weight_decay(var_list=[excluded])
    optimizer.build([decayed, excluded])
    assert weight_decay(optimizer, decayed) == 0.1
    assert weight_decay(optimizer, excluded) == 0.0
    optimizer.apply([ops.zeros((2, 2))] * 2)
    np.testing.assert_allclose(decayed.numpy(), 2.0 - 0.5 * 0.1 * 2.0, 1e-6)
    assert np.array_equal(excluded.numpy(), np.full((2, 2), 2.0))
    plain = keras.optimizers.SGD()
    plain.build([decayed])
    assert weight_decay(plain, decayed) == 0.0


def test_weight_decay_of_muon():
    """Muon leaves some variables to the Adam in it.

    In newer versions of Keras that has a decay of its own.
    """
    has_own = "adam_weight_decay" in inspect.signature(Muon).parameters
    options = {"adam_weight_decay": 0.2} if has_own else {}
    for shape, share in [((2, 2), 0.1), ((2,), 0.2 if has_own else 0.1)]:
        made = variable(shape=shape)
        optimizer = Muon(0.5, weight_decay=0.1, **options)
        optimizer.build([made])
        assert weight_decay(optimizer, made) == share
        if not has_own and keras.backend.backend() == "tensorflow":
            continue  # where Keras 3.12 has no Muon that works
        apply(optimizer, made)
        np.testing.assert_allclose(made.numpy(), 2.0 - 0.5 * share * 2.0, 1e-6)


def test_weight_decay_of_a_scaled_optimizer():
    """`LossScaleOptimizer` leaves updates to the optimizer in it."""
    made = variable()
    inner = keras.optimizers.SGD(0.5, weight_decay=0.1)
    optimizer = keras.optimizers.LossScaleOptimizer(inner)
    optimizer.build([made])
    assert weight_decay(optimizer, made) == 0.1


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="replicas in threads"
)
@pytest.mark.parametrize("is_scaled", [False, True])
def test_capture_reduced_gradients(is_scaled):
    """One method sums gradients over replicas, which are clipped by then."""
    found, made = [], variable()
    optimizer = inner = keras.optimizers.SGD(0.5, clipvalue=1.0)
    if is_scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=2)
    optimizer.build([made])
    with capture_reduced_gradients(optimizer, found.append):
        apply(optimizer, made, gradient=8.0)
    ((gradient,),) = found
    assert np.array_equal(gradient, np.ones((2, 2)))
    assert np.array_equal(made.numpy(), np.full((2, 2), 1.5))
    apply(optimizer, made, gradient=8.0)
    assert len(found) == 1


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of TensorFlow"
)
def test_strategy_of_optimizer():
    """Keras keeps the strategy in which an optimizer was made."""
    optimizer = keras.optimizers.SGD()
    assert strategy_of_optimizer(optimizer).num_replicas_in_sync == 1
