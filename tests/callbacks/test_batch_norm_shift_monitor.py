import io
import re
import warnings

import keras
import numpy as np
import pytest
import rich.console
from keras import layers

import keras_concepts as kc
from batch_norms import MovingStatistics, moments
from keras_concepts.callbacks import BatchNormShiftMonitor, SignalMonitor
from older_keras import needs_renorm

X = np.random.default_rng(0).normal(3.0, 2.0, (24, 6)).astype("float32")
Y = (X[:, :3] - 3.0).argmax(axis=1)


def numpy(variables):
    return [keras.ops.convert_to_numpy(v).copy() for v in variables]


def fit(model, monitor, epochs=2, loss="sparse_categorical_crossentropy", **a):
    model.compile(keras.optimizers.SGD(a.pop("rate", 0.1)), loss, **a)
    return model.fit(
        X, Y, 8, epochs, verbose=0, shuffle=False, callbacks=[monitor]
    ).history


def values(monitor, layer, quantity, epoch):
    rows = monitor.recording.select(f"*{layer}", quantity, epoch)
    assert len(set(rows.step)) == 1
    return rows.value


def assert_recorded(monitor, layer, epoch, oracle, calls=1):
    """What the oracle saw since it was made, and forget it."""
    shift, ratio = oracle.shift()
    found = [
        values(monitor, layer, quantity, epoch)
        for quantity in ("mean_shift", "log_variance_ratio")
    ]
    np.testing.assert_allclose(found[0], shift, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], ratio, rtol=1e-5, atol=1e-5)
    assert values(monitor, layer, "calls", epoch) == [calls]
    np.testing.assert_allclose(
        values(monitor, layer, "batch_norm_shift", epoch),
        np.median(np.abs(shift)),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        values(monitor, layer, "batch_norm_variance", epoch),
        np.median(np.abs(ratio)),
        rtol=1e-5,
    )
    oracle.shifts, oracle.ratios = [], []


class Told(layers.Layer):
    """A functional model would not keep `training=False` for a layer in it."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x, training=False)


def test_numbers_of_nested_shared_and_frozen_layers():
    """In training that changes no weight, against float64 NumPy."""
    norm = layers.BatchNormalization(momentum=0.9, name="shared")
    frozen = layers.BatchNormalization(name="frozen", trainable=False)
    told = Told(layers.BatchNormalization(name="told"))
    dense = layers.Dense(4)
    inner = keras.Sequential(
        [layers.Dropout(0.0), layers.BatchNormalization(name="inner")]
    )
    x = keras.Input((6,))
    hidden = told(frozen(dense(x)))
    h = inner(hidden) + layers.Dense(4)(norm(x) + norm(2.0 * x))
    model = keras.Model(x, layers.Dense(3, "softmax")(h))
    monitor = BatchNormShiftMonitor()
    logs = fit(model, monitor, epochs=2, rate=0.0)
    w, b = (v.astype("float64") for v in numpy(dense.weights))
    shared, inside = MovingStatistics(6, 0.9), MovingStatistics(4)
    for epoch in (0, 1):
        for start in (0, 8, 16):
            rows = X[start : start + 8].astype("float64")
            shared.see(rows)
            shared.see(2.0 * rows)
            inside.see((rows @ w + b) / 1.001)  # twice by 1 + epsilon
        worst = max(
            np.median(np.abs(values)) / unit
            for oracle in (shared, inside)
            for values, unit in zip(
                oracle.shift(), (1.0, np.log(2.0)), strict=True
            )
        )
        assert logs["batch_norm_shift"][epoch] == pytest.approx(worst, 1e-5)
        assert_recorded(monitor, "shared", epoch, shared, calls=2)
        assert_recorded(monitor, "inner", epoch, inside)
        share = values(monitor, "shared", "initial_share", epoch)
        assert share == pytest.approx(0.9 ** (6 * (epoch + 1)))
        for name in ("frozen", "told"):
            assert values(monitor, name, "calls", epoch) == [0.0]
            rows = monitor.recording.select(f"*{name}", "mean_shift")
            assert not len(rows)
    text = []
    monitor.summary(
        type("Console", (), {"print": lambda _, t: text.append(t)})()
    )
    assert text[0].row_count == 4
    for a, b in zip(
        numpy([norm.moving_mean, norm.moving_variance]),
        [shared.mean, shared.variance],
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_updates_go_on_from_fit_to_fit():
    model = keras.Sequential(
        [keras.Input((6,)), layers.BatchNormalization(), layers.Dense(3)]
    )
    monitor = BatchNormShiftMonitor(max_samples=2)  # of three steps
    fit(model, monitor, epochs=1)
    share = values(monitor, "norm*", "initial_share", 0)
    assert share == pytest.approx(0.99**3)
    model.fit(X, Y, 8, verbose=0, callbacks=[monitor])
    share = values(monitor, "norm*", "initial_share", 0)
    assert share == pytest.approx(0.99**6)


def train(callbacks, **arguments):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Reshape((3, 2, 1)),
            layers.Conv2D(4, 2, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(8, kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.Dense(3, "softmax"),
        ]
    )
    model.compile(
        "adam",
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        **arguments,
    )
    history = model.fit(X, Y, 8, epochs=2, verbose=0, callbacks=callbacks)
    return model, history.history


@pytest.mark.parametrize("arguments", [{}, {"jit_compile": False}])
@pytest.mark.optimized
def test_changes_no_bit(arguments):
    """Nor does the probe move weights, statistics, seeds or metrics."""
    if keras.backend.backend() == "jax" and arguments:
        pytest.skip("JAX without jit is slow, and the same operations")
    plain, logs = train([], **arguments)
    monitor = BatchNormShiftMonitor(probe=(X, Y))
    watched, watched_logs = train([monitor], **arguments)
    assert logs.items() <= watched_logs.items()
    states = [
        [*m.variables, *m.metrics_variables, *m.optimizer.variables]
        for m in (plain, watched)
    ]
    for a, b in zip(*map(numpy, states), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_gap_is_that_of_batch_normalization_alone():
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(1, kernel_regularizer=keras.regularizers.L2(0.1)),
        ]
    )
    weight = np.arange(24.0)
    monitor = BatchNormShiftMonitor((X, Y, weight))
    fit(model, monitor, epochs=1, loss="mse")
    gamma, beta, mean, variance, w, b = (
        v.astype("float64") for v in numpy(model.weights)
    )

    def loss(mean, variance):
        normal = (X - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        error = (normal @ w + b)[:, 0] - Y
        return np.mean(weight * error**2) + 0.1 * np.sum(w**2)

    _, batch_mean, batch_variance = moments(X)
    expected = loss(batch_mean, batch_variance), loss(mean, variance)
    found = [
        monitor.recording.select("", name).value.item()
        for name in ("training_loss", "inference_loss", "inference_gap")
    ]
    np.testing.assert_allclose(found[:2], expected, rtol=1e-5)
    assert found[2] == pytest.approx(found[1] - found[0])


def accuracy(model, x, training):
    """In training mode nothing may move."""
    with keras.StatelessScope():
        p = model(x, training=training)
    return np.mean(keras.ops.convert_to_numpy(p).argmax(axis=1) == Y)


def test_the_classic_trap_is_seen_and_repaired():
    """20 short epochs at the default momentum."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(32),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(32),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dense(3, "softmax"),
        ]
    )
    random = np.random.default_rng(1)
    for layer in model.layers[::3]:
        layer.set_weights(
            [
                random.normal(0, w.shape[0] ** -0.5, w.shape)
                for w in layer.get_weights()
            ]
        )
    x = 100.0 + 3.0 * X
    model.compile(
        keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy"
    )
    monitor = BatchNormShiftMonitor(probe=(x, Y))
    model.fit(x, Y, 24, epochs=20, verbose=0, callbacks=[monitor])
    assert accuracy(model, x, training=True) > 0.95
    assert accuracy(model, x, training=False) < 0.6
    kc.recalibrate_batch_norm(model, x, 24)
    assert accuracy(model, x, training=False) > 0.95
    last = monitor.recording.select(epoch=19)
    assert last.select("", "batch_norm_shift").value > 1.0
    assert last.select("", "inference_gap").value > 0.5
    assert last.select("*", "initial_share").value == pytest.approx(0.99**20)


def test_a_variance_that_is_wrong_is_in_the_logs():
    """As for small inputs, whose mean is 0, the moving mean's initial value."""
    model = keras.Sequential(
        [layers.BatchNormalization(), layers.Dense(3, "softmax")]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    monitor = BatchNormShiftMonitor()
    x = 0.02 * (X - X.mean(axis=0))
    history = model.fit(x, Y, 24, verbose=0, callbacks=[monitor]).history
    rows = monitor.recording
    assert rows.select("?*", "batch_norm_shift").value < 1.0
    variance = rows.select("?*", "batch_norm_variance").value.item()
    assert history["batch_norm_shift"] == [variance / np.log(2.0)]
    assert rows.select("", "batch_norm_shift").value > 4.0


class Unbuilt(keras.Model):
    """Its layers, or only their weights, are made by the first step."""

    def __init__(self, early):
        super().__init__()
        self.early = early
        if early:
            self.make()

    def make(self):
        self.norm = layers.BatchNormalization(name="norm")
        self.dense = layers.Dense(3, "softmax")

    def build(self, shape):
        if not self.early:
            self.make()
        self.norm.build(shape)
        self.dense.build(shape)
        self.built = True

    def call(self, x, training=False):
        return self.dense(self.norm(x, training=training))


@pytest.mark.parametrize("early", [True, False])
def test_a_model_that_the_first_step_builds(early):
    monitor = BatchNormShiftMonitor(probe=(X, Y))
    oracle = MovingStatistics(6)
    for batch in (X[:8], X[8:16], X[16:]):
        oracle.see(batch)
    _ = fit(Unbuilt(early), monitor, epochs=1)
    assert_recorded(monitor, "norm", 0, oracle)


def test_a_probe_is_fed_as_fit_does():
    """In `floatx`, and eagerly where the model runs so."""

    class Model(keras.Model):
        def call(self, x, training=False):
            x = self.norm(x, training=training)
            return self.dense(
                x
                if float(keras.ops.mean(keras.ops.stop_gradient(x))) > -9.0
                else -x
            )

        def compute_loss(self, x, y, y_pred, *_, **__):
            return keras.ops.mean(keras.ops.square(y - y_pred))

    model = Model()
    model.norm, model.dense = layers.BatchNormalization(), layers.Dense(1)
    x, y = X.astype("float64"), X[:, :1].astype("float64")
    model(X)
    model.compile("sgd", run_eagerly=True)
    monitor = BatchNormShiftMonitor(probe=(x, y))
    _ = model.fit(x, y, 8, verbose=0, callbacks=[monitor])
    loss = monitor.recording.select("", "inference_loss").value
    mean = np.mean((model.predict(X, verbose=0) - X[:, :1]) ** 2)
    np.testing.assert_allclose(loss, mean, rtol=1e-5)
    kc.recalibrate_batch_norm(model, X, 8)
    np.testing.assert_allclose(
        numpy([model.norm.moving_mean])[0], X.mean(axis=0), rtol=1e-5
    )


class InferenceInFit(keras.Model):
    """Keras' `fit` calls a model without `training` in inference mode."""

    def __init__(self, norm):
        super().__init__()
        self.norm, self.dense = norm, layers.Dense(3, "softmax")

    def call(self, x):
        return self.dense(self.norm(x))


def lines(monitor):
    console = rich.console.Console(file=io.StringIO(), width=90)
    monitor.summary(console)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("trainable", [True, False])
def test_never_in_training_mode(trainable):
    model = InferenceInFit(
        layers.BatchNormalization(name="norm", trainable=trainable)
    )
    model(X)
    monitor = BatchNormShiftMonitor((X, Y))
    logs = fit(model, monitor, epochs=1)
    assert np.isnan(logs["batch_norm_shift"][0])
    assert monitor.recording.select("", "inference_gap").value == [0.0]
    (line,) = [line for line in lines(monitor) if line.startswith("norm")]
    word = "never called in training mode" if trainable else "frozen"
    assert line.split(maxsplit=1)[1].strip() == word


class AlwaysOn(layers.BatchNormalization):
    def call(self, x, **kwargs):
        return super().call(x, **{**kwargs, "training": True})


def test_a_layer_that_is_always_in_training_mode():
    """Told neither by its arguments, nor by those of the model."""
    oracle = MovingStatistics(6)
    for start in (0, 8, 16):
        oracle.see(X[start : start + 8])
    model = InferenceInFit(AlwaysOn(name="norm"))
    model(X[:8])  # which moves the statistics
    model.norm.moving_mean.assign(np.zeros(6))
    model.norm.moving_variance.assign(np.ones(6))
    monitor = BatchNormShiftMonitor()
    fit(model, monitor, epochs=1)
    assert_recorded(monitor, "norm", 0, oracle)


@needs_renorm
@pytest.mark.parametrize("clipping", [None, {"rmax": 1.5, "dmax": 0.5}])
def test_batch_renormalization(clipping):
    """By what the layer normalizes, found from its outputs."""
    layer = layers.BatchNormalization(
        renorm=True, renorm_clipping=clipping, renorm_momentum=0.5, name="norm"
    )
    model = keras.Sequential([keras.Input((6,)), layer, layers.Dense(3)])
    model.compile("sgd", "mse")
    start = layer.get_weights()
    monitor = BatchNormShiftMonitor()
    shifts, ratios = [], []
    for begin in (0, 8, 16):
        batch = X[begin : begin + 8]
        mean = keras.ops.convert_to_numpy(layer.moving_mean).astype("float64")
        variance = keras.ops.convert_to_numpy(layer.moving_variance) + 1e-3
        y = keras.ops.convert_to_numpy(layer(batch, training=True))
        # y = (x - m) / s
        s = np.ptp(batch.astype("float64"), axis=0) / np.ptp(y, axis=0)
        m = batch[0] - s * y[0]
        shifts.append((mean - m) / s)
        ratios.append(np.log(variance / s**2))
    layer.set_weights(start)
    model.fit(X, X[:, :3], 8, verbose=0, shuffle=False, callbacks=[monitor])
    for quantity, expected in (
        ("mean_shift", shifts),
        ("log_variance_ratio", ratios),
    ):
        np.testing.assert_allclose(
            values(monitor, "norm", quantity, 0),
            np.mean(expected, axis=0),
            rtol=1e-4,  # the oracle divides differences of float32
            atol=1e-4,
        )


def test_a_probe_that_runs_in_another_mode_says_so():
    """For example, if a custom `train_step` calls layers with `False`."""
    norm = layers.BatchNormalization()
    model = keras.Sequential([keras.Input((6,)), norm, layers.Dense(3)])
    model.compile("sgd", "mse")
    monitor = BatchNormShiftMonitor((X, X[:, :3]))
    monitor.set_model(model)
    monitor._check(model)
    with pytest.warns(UserWarning, match="layers that use batch statistics"):
        assert monitor._gap(set()) == {}
    assert set(monitor._gap({id(norm)})) == {
        "training_loss",
        "inference_loss",
        "inference_gap",
    }


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        ((X[:, :5], Y), "cannot use"),
        ((X, Y[:5]), r"lengths \['24', '5'\]"),
        (({"a": X, "b": X}, Y), "cannot use"),
        ((X[:0], Y[:0]), r"lengths \['0'\]"),
    ],
)
def test_a_probe_that_does_not_fit(probe, message):
    """Is an error before the first step, and trains nothing."""
    model = keras.Sequential(
        [keras.Input((6,)), layers.BatchNormalization(), layers.Dense(3)]
    )
    before = model.get_weights()
    for monitor in (BatchNormShiftMonitor, SignalMonitor):
        with pytest.raises(
            ValueError, match=f"`probe` of `{monitor.__name__}` .*{message}"
        ):
            fit(model, monitor(probe))
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_probe_and_no_loss():
    """Are reported before training, which continues without the probe."""

    class Penalized(layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.mean(keras.ops.square(x)))
            return x

    def sequence(*more):
        return keras.Sequential(
            [keras.Input((6,)), layers.BatchNormalization(), *more]
        )

    probe = X, X[:, :1]
    model = sequence(Penalized())
    monitors = [BatchNormShiftMonitor(probe), SignalMonitor(probe)]
    model.compile("sgd")
    _ = model.fit(X, X[:, :1], 8, verbose=0, callbacks=monitors)
    assert len(monitors[0].recording.select("", "inference_gap")) == 1
    assert len(monitors[1].recording.select("", "probe_loss")) == 2

    model = sequence(layers.Dense(1))
    model.compile("sgd")
    for monitor in (BatchNormShiftMonitor(probe), SignalMonitor(probe)):
        monitor.set_model(model)
        monitor.set_params({"epochs": 1, "steps": 3})
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            monitor.on_train_begin()
            monitor.on_epoch_begin(0)
        monitor.on_train_end()
        (said,) = [str(each.message) for each in caught]
        assert re.search(r"`probe`.* without a loss", said)


def test_a_model_without_a_call():
    class Uncallable(keras.Model):
        def __init__(self):
            super().__init__()
            self.norm = layers.BatchNormalization()
            self.norm.build((None, 6))
            self.built = True

    model = Uncallable()
    model.compile("sgd", "mse")
    for monitor in (
        BatchNormShiftMonitor((X, Y)),
        SignalMonitor((X, Y)),
        SignalMonitor((X,)),
    ):
        monitor.set_model(model)
        with pytest.raises(ValueError, match=r"`probe` of .* without a `call`"):
            monitor.on_train_begin()


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="it has no float64 by default"
)
def test_floatx_float64():
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    try:
        model = keras.Sequential(
            [
                keras.Input((6,)),
                layers.BatchNormalization(name="norm"),
                kc.layers.MonitoredBatchNormalization(),
                layers.Dense(3, "softmax"),
                kc.layers.ActivationProbe(),
            ]
        )
        oracle = MovingStatistics(6)
        for start in (0, 8, 16):
            oracle.see(X[start : start + 8])
        monitor, signals = BatchNormShiftMonitor((X, Y)), SignalMonitor((X, Y))
        model.compile("sgd", "sparse_categorical_crossentropy")
        _ = model.fit(
            X, Y, 8, shuffle=False, verbose=0, callbacks=[monitor, signals]
        )
        assert_recorded(monitor, "norm", 0, oracle)
        assert len(signals.recording.select("", "probe_loss")) == 2
    finally:
        keras.config.set_floatx(before)


def test_errors():
    with pytest.raises(
        TypeError, match=r"`probe` of .*`\(x, y\)` or .*ndarray"
    ):
        BatchNormShiftMonitor(probe=X)
    with pytest.raises(ValueError, match=r"`probe` of .* a tuple of 1"):
        BatchNormShiftMonitor(probe=(X,))
    model = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="BatchNormalization"):
        fit(model, BatchNormShiftMonitor())
