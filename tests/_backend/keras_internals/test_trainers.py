import contextlib

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts._backend.keras_internals import (
    batch_size_of_fit,
    call_as_trainer,
    compile_arguments,
    data_of_pass,
    failures_of_data,
    has_call,
    has_own_train_step,
    make_train_function,
    replace_next_pass,
    replace_state_sharding,
    running_fit,
    state_sharding,
    was_restored,
    watch_next_pass,
)

BACKEND = keras.backend.backend()
only_jax = pytest.mark.skipif(
    BACKEND != "jax", reason="a train function with a state"
)
# Steps per execution; PyTorch has one.
STEPS = [1] if BACKEND == "torch" else [1, 2]
X = np.arange(24, dtype="float32").reshape(12, 2)
Y = np.arange(12, dtype="float32")[:, None]


def compiled(**arguments):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(1)])
    model.compile("sgd", "mse", **{"run_eagerly": True, **arguments})
    return model


def generator():
    while True:
        yield X, Y


def during_fit(model, look, *data, **arguments):
    """What `look()` gives when `fit` has begun."""
    found = []
    begin = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: found.append(look())
    )
    _ = model.fit(*data, verbose=0, callbacks=[begin], **arguments)
    return found[0]


def test_call_as_trainer():
    """Keras gives `training` to a `call` that takes it, and to no other."""
    given = []

    class Takes(keras.Model):
        def call(self, x, training="default"):
            given.append(training)
            return x

    class TakesNone(keras.Model):
        def call(self, x):
            given.append("none")
            return x

    for mode in (True, False):
        for kind in (Takes, TakesNone):
            _ = call_as_trainer(kind(), X, mode)
    assert given == [True, "none", False, "none"]


def test_has_call():
    """`Model.call` is there, but does nothing."""

    class Silent(keras.Model):
        pass

    assert not has_call(Silent())
    assert has_call(compiled())


def test_has_own_train_step():
    """`fit` calls the method of the class, or one set on the model."""

    class Own(keras.Model):
        def train_step(self, *args):
            return super().train_step(*args)

    model = keras.Sequential()
    assert not has_own_train_step(model)
    assert has_own_train_step(Own())
    model.train_step = lambda data: {}
    assert has_own_train_step(model)


def test_compile_arguments():
    """Keras keeps what `compile` was given, to save it with the model."""
    model = keras.Sequential([layers.Dense(1)])
    assert compile_arguments(model) == {}
    metric = keras.metrics.MeanAbsoluteError()
    model.compile("sgd", loss=["mse"], metrics=[metric], jit_compile=False)
    arguments = compile_arguments(model)
    assert arguments["loss"] == ["mse"]
    assert arguments["metrics"][0] is metric
    assert arguments["jit_compile"] is False
    arguments.clear()
    assert compile_arguments(model) != {}


def test_make_train_function():
    """Keras makes the function once, unless it is forced to."""

    class Own(keras.Sequential):
        def make_train_function(self):
            if self.train_function is None:
                self.train_function = lambda data: "own"

    model = compiled()
    model.make_train_function()
    first = model.train_function
    model.make_train_function()
    assert model.train_function is first
    make_train_function(model)
    assert model.train_function is not first
    model = Own()
    model.compile("sgd", "mse")
    model.make_train_function()
    first = model.train_function
    make_train_function(model)
    assert model.train_function is not first
    assert model.train_function(None) == "own"


def test_batch_size_of_fit():
    """The adapter of the data knows the size of its batches."""
    model = compiled()

    def look():
        return batch_size_of_fit(model)

    assert look() is None
    assert during_fit(model, look, X, Y, batch_size=5) == 5
    assert during_fit(model, look, X, Y) == 32
    data = generator()
    assert (
        during_fit(model, look, data, shuffle=False, steps_per_epoch=1) is None
    )
    assert look() is None


class TestRunningFit:
    def test_arguments(self):
        model = compiled()
        fit = during_fit(
            model,
            lambda: running_fit(model),
            X,
            Y,
            initial_epoch=2,
            epochs=3,
            validation_split=0.25,
            class_weight={k: 1.0 + k for k in range(12)},
        )
        assert fit.arguments["initial_epoch"] == 2
        assert fit.arguments["validation_split"] == 0.25
        assert fit.arguments["class_weight"][3] == 4.0
        assert fit.arguments["sample_weight"] is None
        x, y, *_ = fit.arguments["validation_data"]
        assert np.array_equal(x, X[9:])
        assert np.array_equal(y, Y[9:])
        x, y, weights = fit.arrays
        assert np.array_equal(x, X[:9])
        assert np.array_equal(y, Y[:9])
        assert np.array_equal(np.ravel(weights), np.arange(1.0, 10.0))

    def test_other_models(self):
        model, other = compiled(), compiled()
        assert running_fit(model) is None
        assert during_fit(model, lambda: running_fit(other), X, Y) is None

    def test_own_fit(self):
        """`epoch_iterator` is a variable of Keras' `fit`."""

        class Own(keras.Sequential):
            def fit(self, x, y):
                return running_fit(self)

        assert Own([layers.Dense(1)]).fit(X, Y) is None

    @pytest.mark.parametrize("shuffle", [True, False, "batch"])
    def test_shuffle(self, shuffle):
        model = compiled()
        fit = during_fit(
            model, lambda: running_fit(model), X, Y, shuffle=shuffle
        )
        assert fit.shuffles is (shuffle is True)

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_batches(self, shuffle):
        """Keras shuffles the batches of a `PyDataset` if asked to."""

        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, index):
                return X, Y

        model = compiled()
        fit = during_fit(
            model, lambda: running_fit(model), Batches(), shuffle=shuffle
        )
        assert fit.arrays is None
        assert fit.shuffles is (True if shuffle else None)

    def test_generator(self):
        model = compiled()
        fit = during_fit(
            model,
            lambda: running_fit(model),
            generator(),
            shuffle=False,
            steps_per_epoch=1,
        )
        assert fit.arrays is None
        assert fit.shuffles is None


def test_running_fit():
    """`fit` reads the data from its variable `epoch_iterator`."""
    model = compiled()
    fit = during_fit(model, lambda: running_fit(model), X, Y, batch_size=4)
    assert fit.iterator.data_adapter.batch_size == 4
    assert fit.iterator.steps_per_execution == 1
    x, y, weights = fit.arrays
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)
    assert weights is None
    assert running_fit(model) is None


def test_was_restored(tmp_path):
    """`BackupAndRestore` alone leaves an epoch in the model."""

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    def begun(model, *callbacks):
        backup = keras.callbacks.BackupAndRestore(tmp_path, save_freq=1)
        found = []
        note = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: found.append(was_restored(model))
        )
        with contextlib.suppress(KeyboardInterrupt):
            _ = model.fit(
                *(X, Y),
                batch_size=4,
                verbose=0,
                callbacks=[backup, note, *callbacks],
            )
        return found

    assert begun(compiled(), Interrupt()) == [False]
    assert begun(compiled()) == [True]
    model = compiled()
    _ = model.fit(X, Y, verbose=0, initial_epoch=1, epochs=2)
    assert not was_restored(model)


def rows_of(batches):
    """Rows of the first input of each batch."""
    arrays = [np.asarray(ops.convert_to_numpy(batch[0])) for batch in batches]
    return [array.tolist() for array in arrays]


EXPECTED = [X[start : start + 5].tolist() for start in (0, 5, 10)]


def test_data_of_pass():
    """One method of Keras' iterator gives what an epoch reads."""
    model = compiled()
    batches = during_fit(
        model,
        lambda: [*data_of_pass(running_fit(model).iterator)],
        X,
        Y,
        batch_size=5,
        shuffle=False,
    )
    assert rows_of(batches) == EXPECTED


@pytest.mark.parametrize("steps", STEPS)
def test_replace_next_pass(steps):
    """Each epoch asks for its data again, by that method."""
    model = compiled(steps_per_execution=steps)
    asked = []

    def replace(data):
        asked.append(data)
        return data

    during_fit(
        model,
        lambda: replace_next_pass(running_fit(model).iterator, replace),
        X,
        Y,
        batch_size=4,
        epochs=2,
    )
    assert len(asked) == 1
    assert model.optimizer.iterations.numpy() == 6


@pytest.mark.skipif(BACKEND == "tensorflow", reason="it reads a data set")
@pytest.mark.parametrize("steps", STEPS)
def test_watch_next_pass(steps):
    """What an epoch reads are batches, or the batches of an execution."""
    model = compiled(steps_per_execution=steps)
    seen = []
    during_fit(
        model,
        lambda: watch_next_pass(running_fit(model).iterator, seen.append),
        X,
        Y,
        epochs=2,
        batch_size=5,
        shuffle=False,
    )
    assert rows_of(seen) == EXPECTED
    assert model.optimizer.iterations.numpy() == 6


@only_jax
def test_state_sharding():
    """A step carries four kinds of variables, each with its placement."""
    model = compiled(metrics=["mae"])
    model.optimizer.build(model.trainable_variables)
    parts = state_sharding(model)
    variables = [
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    ]
    for part, of in zip(parts, variables, strict=True):
        assert part == [variable.value.sharding for variable in of]


@only_jax
def test_replace_state_sharding():
    """With a distribution, the train function is compiled for a placement."""
    model = compiled(run_eagerly=False, jit_compile=True)
    before = keras.distribution.distribution()
    one_device = keras.distribution.DataParallel(devices=["cpu:0"])
    keras.distribution.set_distribution(one_device)
    try:
        with (
            replace_state_sharding(model, ("mine",)),
            pytest.raises(TypeError, match="mine"),  # JAX's
        ):
            make_train_function(model)
        make_train_function(model)
    finally:
        keras.distribution.set_distribution(before)


def test_failures_of_data():
    """An iterator of epochs takes batches from `_enumerate_iterator`.

    And the end of the data passes through its `catch_stop_iteration`.
    """

    def fails():
        for _ in range(6):  # Keras looks at some before it begins
            yield X, Y
        raise RuntimeError("no more")

    for data, steps, expected in (
        (fails(), 20, [True]),
        (generator(), 2, []),
    ):
        model, found = compiled(), []
        open_blocks = contextlib.ExitStack()

        def watch(model=model, found=found, blocks=open_blocks):
            then = lambda: found.append(True)  # noqa: E731, kept short
            blocks.enter_context(failures_of_data(model, then))

        try:
            _ = during_fit(
                model, watch, data, steps_per_epoch=steps, shuffle=False
            )
        except Exception:  # of whatever kind the backend makes of it
            assert expected
        finally:
            open_blocks.close()
        assert found == expected
