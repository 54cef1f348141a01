"""Nothing is left patched, however a training run ends."""

import gc

import keras
import numpy as np
import pytest

from keras_concepts.callbacks import GradientMonitor, PenaltyReporter
from keras_concepts.instruments import GradientTap
from keras_concepts.instruments.step.end_of_fit import EndOfFit


class Bomb(keras.callbacks.Callback):
    def __init__(self, hook, error=RuntimeError):
        super().__init__()
        self.error = error
        setattr(self, hook, self.explode)

    def explode(self, *args, **kwargs):
        raise self.error("boom")


def make(optimizer="adam"):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(4, "relu"),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def leftovers(model):
    gc.collect()
    return [
        name
        for instance in (model, model.optimizer, *model.metrics)
        for name in vars(instance)
        if name
        in (
            "apply",
            "stateless_apply",
            "update_state",
            "train_step",
            "make_train_function",
        )
    ] + [
        name
        for name in ("train_function",)
        if "keras_concepts" in type(model.train_function).__module__
    ]


def test_after_fit(digits):
    model = make()
    model.fit(*digits, verbose=0)
    function = model.train_function
    model.fit(*digits, verbose=0, callbacks=[GradientMonitor()])
    assert leftovers(model) == []
    assert model.train_function is function


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_train_batch_end", "on_epoch_end"]
)
def test_after_an_exception_in_another_callback(hook, error, digits):
    model = make()
    monitor = GradientMonitor()
    try:
        model.fit(*digits, verbose=0, callbacks=[monitor, Bomb(hook, error)])
    except error:
        pass
    else:
        pytest.fail("the bomb did not go off")
    assert leftovers(model) == []
    model.fit(*digits, verbose=0, callbacks=[monitor])
    assert len(monitor.recording.select(quantity="batch_loss")) == 2


def test_after_an_exception_inside_the_step(digits):
    model = make()

    def explode(y_true, y_pred):
        raise RuntimeError("boom")

    model.compile("adam", explode)
    monitor = GradientMonitor()
    with pytest.raises(RuntimeError) as kept_alive:
        model.fit(*digits, verbose=0, callbacks=[monitor])
    assert leftovers(model) == []
    assert "boom" in str(kept_alive.value)


def test_a_kept_exception_keeps_no_patch(digits):
    model = make()
    monitor = GradientMonitor()
    with pytest.raises(RuntimeError) as kept_alive:
        model.fit(*digits, verbose=0, callbacks=[monitor, Bomb("on_epoch_end")])
    # As in a notebook, the traceback keeps the frames of `fit` alive.
    assert leftovers(model) == []
    assert kept_alive.tb is not None


def break_unnoticed(model, digits, monkeypatch):
    """An exception that nobody notices: Ctrl-C between two callbacks, say."""
    end = EndOfFit.end
    deaf = [True]
    monkeypatch.setattr(
        EndOfFit, "end", lambda self: None if deaf else end(self)
    )
    callbacks = [GradientMonitor(), Bomb("on_train_batch_end")]
    with pytest.raises(RuntimeError) as kept_alive:
        model.fit(*digits, verbose=0, callbacks=callbacks)
    deaf.clear()
    # As in a notebook, the traceback keeps the frames of `fit` alive.
    assert "train_function" in leftovers(model)
    return kept_alive.value


def test_the_next_fit_meets_no_leftover(digits, monkeypatch):
    model = make()
    error = break_unnoticed(model, digits, monkeypatch)
    model.fit(*digits, verbose=0)
    assert leftovers(model) == []
    assert error.__traceback__ is not None


def test_a_late_clean_up_spares_the_next_fit(digits, monkeypatch):
    """In a notebook the frames of a broken `fit` may die during another."""
    model = make()
    alive = [break_unnoticed(model, digits, monkeypatch)]

    class Forget(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            alive.clear()
            gc.collect()
            assert "make_train_function" in vars(self._model)

    monitor = GradientMonitor()
    model.fit(*digits, epochs=2, verbose=0, callbacks=[monitor, Forget()])
    assert len(monitor.recording.select("", "batch_loss")) == 4
    assert leftovers(model) == []


@pytest.mark.optimized
def test_two_monitors_see_the_same(digits):
    model = make()
    first, second = GradientMonitor(), GradientMonitor(every=2)
    model.fit(*digits, 16, epochs=2, verbose=0, callbacks=[first, second])
    assert leftovers(model) == []
    assert first.recording.select(quantity="batch_loss").step.tolist() == list(
        range(8)
    )
    steps = second.recording.select(quantity="batch_loss").step
    assert steps.tolist() == [0, 2, 4, 6]
    for quantity in (
        "batch_loss",
        "gradient_norm",
        "gradient_rms",
        "update_rms",
    ):
        seen = first.recording.select(quantity=quantity)
        np.testing.assert_array_equal(
            seen.value[np.isin(seen.step, steps)],
            second.recording.select(quantity=quantity).value,
        )


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_generator_of_unknown_length(digits):
    x, y = digits

    def batches():
        for i in range(0, 60, 10):
            yield x[i : i + 10], y[i : i + 10]

    model = make()
    monitor = GradientMonitor()
    model.fit(batches(), shuffle=False, verbose=0, callbacks=[monitor])
    assert monitor.recording.select(quantity="batch_loss").step.tolist() == [
        *range(6)
    ]
    assert leftovers(model) == []


def test_more_samples_than_the_device_holds(digits):
    x, y = np.repeat(digits[0], 5, axis=0), np.repeat(digits[1], 5)
    model = make()
    monitor = GradientMonitor(max_samples=None)
    model.fit(x, y, 1, verbose=0, callbacks=[monitor])
    loss = monitor.recording.select(quantity="batch_loss")
    assert loss.step.tolist() == list(range(320))
    assert np.all(loss.value > 0.0)


# `pytest.warns` passes on what Keras' own warning filter would have caught.
@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_a_train_step_without_the_optimizer(digits):
    class Idle(keras.Sequential):
        def train_step(self, *state_and_data):
            *state, _ = state_and_data
            logs = {"idle": keras.ops.zeros(())}
            return (logs, *state) if state else logs

    model = Idle([keras.Input((12,)), keras.layers.Dense(3)])
    model.compile("sgd", "mse")
    for monitor in (GradientMonitor(), PenaltyReporter()):
        with pytest.warns(UserWarning, match="used no Keras optimizer"):
            model.fit(digits[0], digits[0][:, :3], verbose=0, callbacks=monitor)
    recording = monitor.recording
    assert recording.monitors == ["PenaltyReporter"]


class TestCustomLoop:
    @pytest.mark.optimized
    def test_equals_fit(self, digits):
        x, y = digits
        watched = make("sgd")
        start = watched.get_weights()
        monitor = GradientMonitor()
        watched.fit(x, y, 16, shuffle=False, verbose=0, callbacks=[monitor])
        model = make("sgd")
        model.set_weights(start)
        step = compiled_step(model)
        model.optimizer.build(model.trainable_variables)
        tap = GradientTap(model.optimizer, model.trainable_variables)
        with tap:
            for i in range(0, 64, 16):
                step(x[i : i + 16], y[i : i + 16])
        samples = tap.read()
        assert leftovers(model) == []
        for a, b in zip(
            watched.get_weights(), model.get_weights(), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
        assert samples.steps.tolist() == [0, 1, 2, 3]
        for path, values in zip(
            [v.path for v in watched.trainable_variables],
            samples.quantity("gradient_rms").T,
            strict=True,
        ):
            np.testing.assert_allclose(
                values,
                monitor.recording.select(path, "gradient_rms").value,
                rtol=1e-5,
            )

    def test_keeps_the_last_steps(self, digits):
        model = make("sgd")
        model.optimizer.build(model.trainable_variables)
        gradients = [keras.ops.ones(v.shape) for v in model.trainable_variables]
        with GradientTap(
            model.optimizer, model.trainable_variables, capacity=3
        ) as tap:
            for _ in range(5):
                model.optimizer.apply(gradients, model.trainable_variables)
        assert tap.read().steps.tolist() == [2, 3, 4]

    def test_no_variables(self):
        with pytest.raises(ValueError, match="at least one trainable"):
            GradientTap(keras.optimizers.SGD(), [])

    def test_an_optimizer_of_somebody_else(self):
        with pytest.raises(TypeError, match=r"`keras\.optimizers\.Optimizer`"):
            GradientTap("sgd", [keras.Variable(1.0)])


def compiled_step(model):
    """A custom training loop, as the backend's users write it."""
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            @tf.function
            def step(x, y):
                with tf.GradientTape() as tape:
                    loss = loss_of(y, model(x, training=True))
                variables = model.trainable_variables
                gradients = tape.gradient(loss, variables)
                model.optimizer.apply(gradients, variables)

            return step
        case "jax":
            import jax

            def loss_and_state(trainable, fixed, x, y):
                y_pred, fixed = model.stateless_call(trainable, fixed, x)
                return loss_of(y, y_pred), fixed

            @jax.jit
            def compiled(trainable, fixed, state, x, y):
                gradients, fixed = jax.grad(loss_and_state, has_aux=True)(
                    trainable, fixed, x, y
                )
                trainable, state = model.optimizer.stateless_apply(
                    state, gradients, trainable
                )
                return trainable, fixed, state

            def step(x, y):
                lists = (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    model.optimizer.variables,
                )
                values = [[v.value for v in variables] for variables in lists]
                new = compiled(*values, x, y)
                for variables, results in zip(lists, new, strict=True):
                    for variable, value in zip(variables, results, strict=True):
                        variable.assign(value)

            return step
        case "torch":
            import torch

            def step(x, y):
                model.zero_grad()
                y_pred = model(torch.from_numpy(x), training=True)
                loss_of(torch.from_numpy(y), y_pred).backward()
                variables = model.trainable_variables
                with torch.no_grad():
                    model.optimizer.apply(
                        [v.value.grad for v in variables], variables
                    )

            return step
