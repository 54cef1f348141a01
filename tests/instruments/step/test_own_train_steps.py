"""Models with a custom `train_step`."""

import threading
import warnings

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    TrainingDoctor,
)
from older_keras import as_regularizer
from tests import autodiff

BACKEND = keras.backend.backend()
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
not_jax = pytest.mark.skipif(BACKEND == "jax", reason="its step has a state")
X = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
Y = X[:, :1] - X[:, 1:2]
QUIET = {"sink": lambda message: None}


def gradients(loss_of, variables):
    """Loss and its gradients, as the backend's users take them."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = loss_of()
        return loss, tape.gradient(loss, variables)
    for variable in variables:
        variable.value.grad = None
    loss = loss_of()
    loss.backward()
    return loss, [variable.value.grad for variable in variables]


def apply(optimizer, found, variables):
    if BACKEND == "tensorflow":
        optimizer.apply(found, variables)
        return
    import torch

    with torch.no_grad():
        optimizer.apply(found, variables)


def square_error(model, x, y):
    return ops.mean(ops.square(model(x, training=True) - y))


class Parts(keras.Model):
    """Trains its parts one after the other, as GANs do."""

    def __init__(self):
        super().__init__()
        self.encoder = layers.Dense(3, "tanh", name="encoder")
        self.decoder = layers.Dense(1, name="decoder")
        self.optimizers = [keras.optimizers.SGD(0.1) for _ in range(2)]

    def call(self, x):
        return self.decoder(self.encoder(x))

    def optimizer_of(self, part):
        return self.optimizers[part]

    def train_step(self, data):
        x, y = data
        for i, part in enumerate((self.encoder, self.decoder)):
            variables = part.trainable_variables
            _, found = gradients(lambda: square_error(self, x, y), variables)
            apply(self.optimizer_of(i), found, variables)
        return {"steps": ops.ones(())}


class Shared(Parts):
    """The same with one optimizer, that of `compile`."""

    def optimizer_of(self, part):
        return self.optimizer


def parts(kind, **arguments):
    keras.utils.set_random_seed(0)
    model = kind()
    model(X)
    model.compile(keras.optimizers.SGD(0.1), "mse", **arguments)
    model.optimizer.build(model.trainable_variables)
    return model


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def fit(model, *callbacks, x=X, y=Y, **arguments):
    return model.fit(
        x,
        y,
        batch_size=16,
        shuffle=False,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def rows_of(monitor, quantity, epoch=0):
    """Owner and first value of the epoch."""
    rows = monitor.recording.select(quantity=quantity)
    return {
        series.owner: float(series.values[0])
        for series in rows
        if series.epoch == epoch
    }


@not_jax
@pytest.mark.parametrize("kind", [Parts, Shared])
def test_each_part_has_the_gradient_that_moved_it(kind):
    model, twin = parts(kind), parts(kind)
    monitor = GradientMonitor()
    history = fit(model, monitor).history
    _, (*of_encoder, _, _) = autodiff.gradients(twin, X[:16], Y[:16])
    for variable, gradient in zip(
        twin.encoder.trainable_variables, of_encoder, strict=True
    ):
        variable.assign(ops.convert_to_numpy(variable) - 0.1 * gradient)
    _, (_, _, *of_decoder) = autodiff.gradients(twin, X[:16], Y[:16])
    expected = {
        variable.path: rms(gradient)
        for variable, gradient in zip(
            model.trainable_variables, [*of_encoder, *of_decoder], strict=True
        )
    }
    found = rows_of(monitor, "gradient_rms")
    assert found == pytest.approx(expected, rel=1e-5)
    updates = rows_of(monitor, "update_rms")
    assert updates == pytest.approx(
        {path: 0.1 * value for path, value in expected.items()}, rel=1e-4
    )
    assert np.isfinite(history["update_ratio"][0])
    assert rows_of(monitor, "applied") == {"": 1.0}
    # An optimizer that takes no step would show nothing.
    rates = monitor.recording.select(quantity="learning_rate")
    assert len(rates) == (kind is Shared)


@not_jax
def test_the_guard_sees_every_optimizer():
    model = parts(Parts)
    bad = X.copy()
    bad[20, 1] = np.nan
    guard = NonFiniteGuard(**QUIET)
    fit(model, guard, x=bad)
    assert (guard.found.step, guard.found.kind) == (1, "input")


@not_jax
def test_a_rejected_step_of_other_optimizers_leaves_no_trace():
    model = parts(Parts)
    for optimizer in model.optimizers:
        optimizer.momentum = 0.9
    bad = X.copy()
    bad[20, 1] = np.nan
    fit(model, NonFiniteGuard(before_update=True, **QUIET), x=bad)
    for variable in (
        *model.variables,
        *(v for optimizer in model.optimizers for v in optimizer.variables),
    ):
        assert np.isfinite(ops.convert_to_numpy(variable)).all()
    assert [int(o.iterations) for o in model.optimizers] == [1, 1]


@not_jax
def test_the_decay_is_that_of_the_optimizer_that_steps():
    model = parts(Parts)
    model.optimizers = [
        keras.optimizers.SGD(0.1),
        keras.optimizers.SGD(0.1, weight_decay=0.5),
    ]
    kernel = ops.convert_to_numpy(model.decoder.kernel)
    reporter = PenaltyReporter()
    model.fit(X, Y, batch_size=32, verbose=0, callbacks=[reporter])
    pulls = rows_of(reporter, "decay_pull")
    assert sorted(pulls) == ["parts/decoder/bias", "parts/decoder/kernel"]
    expected = 0.1 * 0.5 * np.linalg.norm(kernel)
    np.testing.assert_allclose(
        pulls["parts/decoder/kernel"], expected, rtol=1e-5
    )


class OwnOptimizer(keras.Model):
    """Moves its weights itself, and keeps its loss under a name of its own."""

    def __init__(self):
        super().__init__()
        self.net = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(3, "relu", kernel_regularizer="l2"),
                layers.Dense(1),
            ]
        )
        self.total = keras.metrics.Mean(name="total_loss")
        self.built = True

    @property
    def metrics(self):
        return [self.total]

    def train_step(self, data):
        x, y = data
        variables = self.net.trainable_variables
        loss, found = gradients(
            lambda: square_error(self.net, x, y) + sum(self.net.losses),
            variables,
        )
        for variable, gradient in zip(variables, found, strict=True):
            variable.assign(
                ops.stop_gradient(ops.convert_to_tensor(variable))
                - 0.1 * ops.convert_to_tensor(gradient)
            )
        self.total.update_state(loss)
        return {"total_loss": self.total.result()}


def own_optimizer():
    keras.utils.set_random_seed(0)
    model = OwnOptimizer()
    model.compile()
    return model


@not_jax
def test_what_no_optimizer_tells_is_measured_from_the_weights():
    model = own_optimizer()
    before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
    monitor, reporter = GradientMonitor(), PenaltyReporter()
    with pytest.warns(UserWarning, match="no Keras optimizer") as caught:
        history = model.fit(
            X, Y, batch_size=32, verbose=0, callbacks=[monitor, reporter]
        ).history
    said = [str(w.message) for w in caught if w.category is UserWarning]
    assert len(said) == 1
    updates = rows_of(monitor, "update_rms")
    for variable, old in zip(model.trainable_variables, before, strict=True):
        change = ops.convert_to_numpy(variable) - old
        assert updates[variable.path] == pytest.approx(rms(change), rel=1e-4)
    for key in ("gradient_norm", "gradient_attenuation", "dead_units"):
        assert np.isnan(history[key][0])
    assert history["update_ratio"][0] > 0.0
    penalty = 0.01 * np.sum(before[0].astype("float64") ** 2)
    assert history["penalty"][0] == pytest.approx(penalty, rel=1e-5)
    assert rows_of(reporter, "l2") == pytest.approx(
        {model.trainable_variables[0].path: penalty}, rel=1e-5
    )


@not_jax
def test_the_guard_without_loss_and_call():
    bad = X.copy()
    bad[20, 1] = np.nan
    guard = NonFiniteGuard(**QUIET)
    with pytest.warns(UserWarning, match="no Keras optimizer"):
        fit(own_optimizer(), guard, x=bad)
    assert (guard.found.step, guard.found.kind) == (1, "input")

    class Spoil(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                kernel = self.model.net.layers[-1].kernel
                kernel.assign(np.full((3, 1), np.inf, "float32"))

    guard = NonFiniteGuard(**QUIET)
    with pytest.warns(UserWarning, match="no Keras optimizer"):
        fit(own_optimizer(), guard, Spoil())
    assert (guard.found.step, guard.found.kind) == (1, "weight")
    assert "loss is finite" not in guard.found.message


@pytest.mark.skipif(BACKEND != "tensorflow", reason="`tf.cond`")
@pytest.mark.parametrize("where", ["cond", "function"])
def test_an_optimizer_in_a_graph_of_its_own(where):
    import tensorflow as tf

    class Hidden(keras.Sequential):
        def train_step(self, data):
            x, y = data
            variables = self.trainable_variables
            _, found = gradients(lambda: square_error(self, x, y), variables)

            def update():
                self.optimizer.apply(found, variables)

            if where == "cond":
                tf.cond(tf.reduce_sum(x) < 1e9, update, lambda: None)
            else:
                tf.function(update)()
            return {"steps": tf.ones(())}

    model = Hidden([keras.Input((4,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1))
    before = ops.convert_to_numpy(model.layers[0].kernel)
    monitor = GradientMonitor()
    with pytest.warns(UserWarning, match="conditional or its own compiled"):
        model.fit(X, Y, batch_size=32, verbose=0, callbacks=[monitor])
    change = ops.convert_to_numpy(model.layers[0].kernel) - before
    kernel = rows_of(monitor, "update_rms")[model.layers[0].kernel.path]
    assert kernel == pytest.approx(rms(change), rel=1e-4)


class Doubled(layers.Layer):
    """Makes what comes after it depend on a variable that is trained."""

    def build(self, shape):
        self.factor = self.add_weight((), keras.initializers.Constant(2.0))

    def call(self, x):
        return self.factor * x


class TestJax:
    pytestmark = pytest.mark.skipif(BACKEND != "jax", reason="JAX's own forms")

    def model(self, differentiate, before=()):
        class Own(keras.Model):
            """As in Keras' guide, with the name that it uses."""

            def compute_loss_and_updates(
                self, trainable, others, x, y, training=False
            ):
                y_pred, others = self.stateless_call(
                    trainable, others, x, training=training
                )
                return ops.mean(ops.square(y - y_pred)), others

            def train_step(self, state, data):
                trainable, others, optimizer, metrics = state
                gradients, others = differentiate(
                    self.compute_loss_and_updates
                )(trainable, others, *data, training=True)
                trainable, optimizer = self.optimizer.stateless_apply(
                    optimizer, gradients, trainable
                )
                logs = {"steps": ops.ones(())}
                return logs, (trainable, others, optimizer, metrics)

        keras.utils.set_random_seed(0)
        inputs = hidden = keras.Input((4,))
        for layer in (*before, layers.BatchNormalization(name="norm")):
            hidden = layer(hidden)
        model = Own(inputs, layers.Dense(1)(hidden))
        model.compile(keras.optimizers.SGD(0.1))
        return model

    def test_batch_statistics_leave_the_gradient(self):
        import jax

        def grad(function):
            return jax.grad(function, has_aux=True)

        def value_and_grad(function):
            def call(*args, **kwargs):
                (_, aux), found = jax.value_and_grad(function, has_aux=True)(
                    *args, **kwargs
                )
                return found, aux

            return call

        held = jax.grad  # looked up before any step

        def held_grad(function):
            return held(function, has_aux=True)

        shifts = []
        for differentiate in (grad, value_and_grad, held_grad):
            model = self.model(differentiate, before=[Doubled()])
            monitor = BatchNormShiftMonitor()
            model.fit(X, Y, batch_size=32, verbose=0, callbacks=[monitor])
            rows = monitor.recording.select(owner="norm")
            assert rows.select(quantity="calls").value.tolist() == [1.0]
            shifts.append(rows.select(quantity="mean_shift").value)
        x = 2 * X
        expected = -x.mean(axis=0) / np.sqrt(x.var(axis=0) + 1e-3)
        for shift in shifts:
            np.testing.assert_allclose(shift, expected, rtol=1e-4)

    def test_layers_in_a_compiled_function(self):
        import jax

        def differentiate(function):
            compiled = jax.jit(function, static_argnames="training")
            return jax.grad(compiled, has_aux=True)

        model = self.model(differentiate, before=[layers.Dense(3)])
        monitor, gradient = BatchNormShiftMonitor(), GradientMonitor()
        with pytest.warns(UserWarning, match="layers inside a conditional"):
            model.fit(
                X, Y, batch_size=32, verbose=0, callbacks=[monitor, gradient]
            )
        assert np.isfinite(
            list(rows_of(gradient, "gradient_rms").values())
        ).all()

    def test_an_optimizer_in_a_conditional(self):
        import jax

        class Hidden(keras.Sequential):
            def train_step(self, state, data):
                trainable, others, optimizer, metrics = state
                x, y = data

                def loss_of(trainable):
                    y_pred, _ = self.stateless_call(trainable, others, x)
                    return ops.mean(ops.square(y - y_pred))

                found = jax.grad(loss_of)(trainable)
                trainable, optimizer = jax.lax.cond(
                    ops.sum(x) < 1e9,
                    lambda: self.optimizer.stateless_apply(
                        optimizer, found, trainable
                    ),
                    lambda: (trainable, optimizer),
                )
                logs = {"steps": ops.ones(())}
                return logs, (trainable, others, optimizer, metrics)

        model = Hidden([keras.Input((4,)), layers.Dense(1, name="only")])
        model.compile(keras.optimizers.SGD(0.1))
        before = ops.convert_to_numpy(model.layers[0].kernel)
        monitor = GradientMonitor()
        with pytest.warns(UserWarning, match="conditional or its own compiled"):
            model.fit(X, Y, batch_size=32, verbose=0, callbacks=[monitor])
        change = ops.convert_to_numpy(model.layers[0].kernel) - before
        [found] = [
            value
            for owner, value in rows_of(monitor, "update_rms").items()
            if owner.endswith("only/kernel")
        ]
        assert found == pytest.approx(rms(change), rel=1e-4)


def plain():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(3, "relu"),
            layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "mse")
    return model


class Between(keras.callbacks.Callback):
    """Calls a function at the end of each epoch."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def on_epoch_end(self, epoch, logs=None):
        self.function(self.model)


def train_on_batch(model):
    model.train_on_batch(X[:16], Y[:16])


def make_again(model):
    model.make_train_function(force=True)


def compile_again(model):
    model.compile(keras.optimizers.SGD(0.01), "mse")
    model.make_train_function()


def fit_inside(model):
    model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)


@pytest.mark.parametrize(
    "function",
    [
        train_on_batch,
        pytest.param(make_again, marks=not_jax),
        pytest.param(compile_again, marks=not_jax),
        pytest.param(fit_inside, marks=not_jax),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_a_callback_does_takes_no_monitor_off(function, first):
    watched, alone = plain(), plain()
    monitor, guard = GradientMonitor(), NonFiniteGuard(**QUIET)
    order = [Between(function), monitor, guard]
    fit(watched, *(order if first else order[::-1]), epochs=3)
    fit(alone, Between(function), epochs=3)
    for a, b in zip(watched.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = monitor.recording.select(owner="", quantity="gradient_norm")
    assert rows.step.tolist() == list(range(6))
    assert rows.epoch.tolist() == [0, 0, 1, 1, 2, 2]
    checked = guard.recording.select(quantity="checked_steps")
    assert checked.value.tolist() == [2.0, 2.0, 2.0]


@not_jax
def test_no_step_after_a_fit_inside_is_missed():
    class Nested(keras.callbacks.Callback):
        done = False

        def on_train_batch_end(self, batch, logs=None):
            if not self.done:
                self.done = True
                fit_inside(self.model)

    monitor = GradientMonitor()
    fit(plain(), monitor, Nested(), epochs=2)
    rows = monitor.recording.select(owner="", quantity="gradient_norm")
    assert rows.epoch.tolist() == [0, 0, 1, 1]
    assert rows.step.tolist() == [0, 1, 2, 3]


@not_jax
def test_a_layer_that_is_unfrozen_appears():
    model = plain()
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.01), "mse")
    monitor = GradientMonitor()
    done = []

    def unfreeze(model):
        if not done:
            done.append(True)
            model.layers[0].trainable = True
            compile_again(model)

    fit(model, Between(unfreeze), monitor, epochs=2)
    for epoch, count in ((0, 2), (1, 4)):
        assert len(rows_of(monitor, "gradient_rms", epoch)) == count


def test_the_guard_names_a_penalty():
    @as_regularizer
    def broken(values):
        return ops.mean(ops.log(values - 1e6))

    for argument, layer in (
        ("kernel_regularizer", "penalized/kernel"),
        ("activity_regularizer", "penalized"),
    ):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                layers.Dense(2, name="penalized", **{argument: broken}),
                layers.Dense(1),
            ]
        )
        model.compile("sgd", "mse")
        guard = NonFiniteGuard(**QUIET)
        fit(model, guard)
        assert guard.found.kind == "penalty"
        assert guard.found.layer.endswith(layer)


def test_watching_leaves_an_unbuilt_model_unbuilt():
    if BACKEND != "tensorflow":
        pytest.skip("the others build it")

    class NoCall(keras.Model):
        def __init__(self):
            super().__init__()
            self.net = keras.Sequential([keras.Input((4,)), layers.Dense(1)])

        def train_step(self, data):
            x, y = data
            variables = self.net.trainable_variables
            loss, found = gradients(
                lambda: square_error(self.net, x, y), variables
            )
            self.optimizer.apply(found, variables)
            return {"loss": loss}

    for monitor in (GradientMonitor(), PenaltyReporter(), NonFiniteGuard()):
        model = NoCall()
        model.compile("sgd")
        with warnings.catch_warnings():
            fit(model, monitor)
        assert not model.built


@not_jax
def test_gradients_that_are_accumulated_by_hand():
    class Accumulating(keras.Sequential):
        count = 0

        def train_step(self, data):
            x, y = data
            variables = self.trainable_variables
            _, found = gradients(lambda: square_error(self, x, y), variables)
            self.count += 1
            if self.count % 2 == 0:
                apply(self.optimizer, found, variables)
            return {"steps": ops.ones(())}

    for kind in (GradientMonitor, PenaltyReporter, NonFiniteGuard):
        model = Accumulating([keras.Input((4,)), layers.Dense(1)])
        model.compile("sgd", run_eagerly=True)
        monitor = kind()
        fit(model, monitor, epochs=2)
        if kind is GradientMonitor:
            applied = monitor.recording.select("", "applied").value
            assert applied.tolist() == [0.0, 1.0] * 2


@not_jax
def test_methods_with_arguments_of_their_own():
    class Ascending(keras.optimizers.SGD):
        def apply(self, grads, trainable_variables=None, ascend=False):
            if not ascend:
                return super().apply(grads, trainable_variables)
            for variable, gradient in zip(
                trainable_variables, grads, strict=True
            ):
                variable.assign_add(0.05 * gradient)

    class Own(keras.Sequential):
        def make_train_function(self):
            return super().make_train_function()

        def train_step(self, data):
            x, y = data
            variables = self.trainable_variables
            _, found = gradients(lambda: square_error(self, x, y), variables)
            if BACKEND == "torch":
                import torch

                with torch.no_grad():
                    self.optimizer.apply(found, variables, ascend=True)
            else:
                self.optimizer.apply(found, variables, ascend=True)
            apply(self.optimizer, found, variables)
            return {"steps": ops.ones(())}

    weights = []
    for monitors in ([], [GradientMonitor(), NonFiniteGuard(**QUIET)]):
        keras.utils.set_random_seed(0)
        model = Own([keras.Input((4,)), layers.Dense(1)])
        model.compile(Ascending(0.01))
        fit(model, *monitors)
        weights.append(model.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_two_threads_train_at_once():
    original = keras.optimizers.Optimizer.apply
    errors, rows = [], []

    def train():
        try:
            monitor = GradientMonitor(max_samples=None)
            fit(plain(), monitor, NonFiniteGuard(**QUIET), epochs=4)
            found = monitor.recording.select("*/kernel", "gradient_rms").value
            rows.append((len(found), int(np.isfinite(found).sum())))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert rows == [(16, 16)] * 2
    assert keras.optimizers.Optimizer.apply is original


@not_jax
def test_steps_that_an_own_loss_scale_skips_are_no_fault():
    class Scaled(OwnOptimizer):
        def __init__(self):
            super().__init__()
            self.own = keras.optimizers.LossScaleOptimizer(
                keras.optimizers.SGD(0.01), initial_scale=2.0**127
            )

        def train_step(self, data):
            x, y = data
            variables = self.net.trainable_variables
            _, found = gradients(
                lambda: self.own.scale_loss(1e3 * square_error(self.net, x, y)),
                variables,
            )
            apply(self.own, found, variables)
            return {"steps": ops.ones(())}

    model = Scaled()
    model.compile()
    guard = NonFiniteGuard(**QUIET)
    fit(model, guard)
    assert guard.found is None
    assert guard.recording.select(quantity="skipped_steps").value[0] == 2.0


@not_jax
def test_a_monitor_of_two_fits_at_once_says_so():
    monitor = GradientMonitor()

    def inside(model):
        model.fit(X, Y, verbose=0, callbacks=[monitor])

    with pytest.warns(UserWarning, match="`fit` inside a `fit`"):
        fit(plain(), monitor, Between(inside))


class Uncalled(Parts):
    """Trains without ever being called, so that Keras never builds it."""

    call = keras.Model.call

    def train_step(self, data):
        x, _ = data
        part = self.encoder
        variables = part.trainable_variables
        _, found = gradients(lambda: ops.mean(part(x) ** 2), variables)
        apply(self.optimizer, found, variables)
        return {"loss": ops.ones(())}


@pytest.mark.skipif(BACKEND != "tensorflow", reason="the others insist on it")
def test_what_is_planned_is_known_of_a_model_that_is_never_built():
    keras.utils.set_random_seed(0)
    model = Uncalled()
    _ = model.encoder(X), model.decoder(model.encoder(X))
    model.compile(keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    doctor = TrainingDoctor(sink=lambda text: None)
    _ = fit(model, doctor, epochs=12)
    assert not model.built
    # Half of the epochs are given time.
    early = [f for f in doctor.findings if f.noticed[0] < 5]
    assert [f.rule for f in early] == []
    assert doctor.recording.facts["epochs"] == 12
    assert doctor.recording.facts["model"] == model.name
