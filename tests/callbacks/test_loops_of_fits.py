"""A loop of fits compiles what measures its steps only once."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_concepts as kc
from keras_concepts import quantities as q
from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
)
from keras_concepts.instruments.step.measured_step import MeasuredStep

pytestmark = pytest.mark.optimized

X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = X[:, :1]


def network():
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(6, "relu", kernel_regularizer="l2", name="first"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.2),
            layers.Dense(1, name="head"),
        ],
        name="net",
    )
    compiled(model)
    return model


def compiled(model, optimizer="adam"):
    model.compile(optimizer, "mse")


def monitors():
    return [
        GradientMonitor(max_samples=None),
        PenaltyReporter(max_samples=2),
        BatchNormShiftMonitor(),
        NonFiniteGuard(),
    ]


def fit(model, callbacks, rows=24, **options):
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, **options}
    _ = model.fit(X[:rows], Y[:rows], callbacks=callbacks, **options)


def state(model):
    variables = [*model.variables, *model.optimizer.variables]
    return [ops.convert_to_numpy(variable) for variable in variables]


def assert_equal(a, b):
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)


def rows_of(each):
    return [
        (s.owner, s.quantity, s.epoch, s.steps.tolist(), s.values.tolist())
        for s in each.recording
        if s.quantity != q.LOG
    ]


@pytest.fixture
def made(monkeypatch):
    """The measured steps that were made."""
    found, make = [], MeasuredStep.make

    def counted(self, *arguments):
        found.append(self)
        return make(self, *arguments)

    monkeypatch.setattr(MeasuredStep, "make", counted)
    return found


def compile_again(model):
    model.compile(model.optimizer, model.loss)


def take_another_optimizer(model):
    compiled(model, "sgd")


def freeze_a_layer(model):
    model.get_layer("first").trainable = False
    compiled(model)


def freeze_a_layer_only(model):
    model.get_layer("first").trainable = False


def nothing(model):
    del model


def in_a_loop(watched, between, fresh=False):
    """The model after each of three fits, and the monitors."""
    model, states = network(), []
    callbacks = monitors() if watched else []
    for i, rows in enumerate((24, 24, 20)):  # the last needs another trace
        if i:
            between(model)
            callbacks = monitors() if watched and fresh else callbacks
        fit(model, callbacks, rows=rows)
        states.append((state(model), set(vars(model))))
    return states, callbacks


# By how many measured steps three fits need.
CHANGES = {
    nothing: 1,
    compile_again: 3,
    take_another_optimizer: 3,
    freeze_a_layer: 3,
    freeze_a_layer_only: 2,
}


def quick_ones():
    """All on PyTorch, which compiles nothing."""
    for each in CHANGES:
        is_quick = each is nothing or keras.backend.backend() == "torch"
        yield pytest.param(each, marks=() if is_quick else pytest.mark.long)


@pytest.mark.parametrize("between", [*quick_ones()])
def test_a_loop(between, made):
    if between is freeze_a_layer_only and keras.backend.backend() != "torch":
        pytest.skip("Keras ignores or refuses it until the model is compiled")
    plain, _ = in_a_loop(False, between)
    watched, kept = in_a_loop(True, between)
    assert len(made) == CHANGES[between]
    for (a, attributes), (b, others) in zip(plain, watched, strict=True):
        assert_equal(a, b)
        assert attributes == others
    # The last `fit` was measured as by monitors that knew no other.
    _, fresh = in_a_loop(True, between, fresh=True)
    for a, b in zip(kept, fresh, strict=True):
        assert rows_of(a) == rows_of(b) != []


def test_other_monitors_or_another_model(made):
    gradients, penalties = GradientMonitor(), PenaltyReporter(max_samples=32)
    model = network()
    fit(model, [gradients, penalties])
    fit(model, [gradients])
    assert len(made) == 2
    fit(model, [penalties])
    assert len(made) == 3
    fit(model, [gradients, penalties])
    assert len(made) == 4
    fit(model, [gradients, penalties])
    assert len(made) == 4
    fit(model, [penalties, gradients])
    assert len(made) == 5
    fit(network(), [penalties, gradients])
    assert len(made) == 6
    assert gradients.recording.select("", q.BATCH_LOSS)
    assert penalties.recording.select("", q.PENALTY)


def test_after_an_exception(made):
    class Bomb(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise RuntimeError("boom")

    model, monitor = network(), GradientMonitor()
    fit(model, [monitor])
    with pytest.raises(RuntimeError, match="boom"):
        fit(model, [monitor, Bomb()])
    if keras.backend.backend() == "jax":
        model = network()  # Keras has given away the old one's variables
    fit(model, [monitor])
    assert len(made) == 2
    assert monitor.recording.select("", q.BATCH_LOSS).step.tolist() == [0, 1, 2]


def test_a_monitor_that_let_go_keeps_no_model():
    model, monitor = network(), GradientMonitor()
    fit(model, [monitor])
    alive = weakref.ref(model)
    monitor.set_model(None)
    del model
    keras.utils.clear_session(free_memory=False)
    gc.collect()
    assert alive() is None


def test_a_watched_loop(made):
    model = network()
    with kc.watch(sink=lambda text: None, time_budget=None) as doctor:
        for _ in range(3):
            fit(model, [])
    assert len(made) == 1
    losses = doctor.recording.select(
        "", q.BATCH_LOSS, monitor="GradientMonitor"
    )
    assert losses.step.tolist() == list(range(9))
    plain = network()
    for _ in range(3):
        fit(plain, [])
    assert_equal(state(model), state(plain))
