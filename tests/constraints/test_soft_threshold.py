"""Soft thresholding against scikit-learn's Lasso and NumPy's own steps."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.constraints import SoftThreshold, soft_threshold

ALPHA = 0.2


@pytest.fixture
def sparse_problem():
    """256 rows of 20 features, of which 5 matter."""
    random = np.random.default_rng(3)
    x = random.normal(size=(256, 20))
    truth = np.zeros(20)
    truth[[0, 3, 7, 12, 19]] = [2.0, -1.5, 0.8, -0.5, 0.3]
    y = x @ truth + 0.5 + 0.3 * random.normal(size=256)
    return x.astype("float32"), y[:, None].astype("float32")


def linear(constraint, features=20, **options):
    return keras.Sequential(
        [
            keras.Input((features,)),
            layers.Dense(1, kernel_constraint=constraint, **options),
        ]
    )


def weights_after(model, optimizer, x, y, **fit):
    model.compile(optimizer, "mse")
    model.fit(x, y, verbose=0, shuffle=False, **fit)
    return [w.copy() for w in model.get_weights()]


def test_finds_the_lasso_solution(sparse_problem):
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y = sparse_problem
    lasso = linear_model.Lasso(ALPHA, tol=1e-8)
    _ = lasso.fit(x.astype("float64"), y[:, 0].astype("float64"))
    kernel, bias = weights_after(
        linear(SoftThreshold(2 * ALPHA)),
        keras.optimizers.SGD(0.25),
        x,
        y,
        batch_size=256,
        epochs=40,
    )
    assert 3 <= np.count_nonzero(lasso.coef_) < 8
    np.testing.assert_array_equal(kernel[:, 0] == 0.0, lasso.coef_ == 0.0)
    np.testing.assert_allclose(kernel[:, 0], lasso.coef_, atol=1e-2)
    np.testing.assert_allclose(bias, lasso.intercept_, atol=1e-2)


def proximal_sgd(x, y, rates, strength, batch_size, epochs):
    """Iterative soft-thresholding, in float64; one rate an update."""
    w, b = np.zeros((x.shape[1], 1)), 0.0
    rates = iter(rates)
    for _ in range(epochs):
        for i in range(0, len(x), batch_size):
            rows, error = x[i : i + batch_size], y[i : i + batch_size]
            error = rows @ w + b - error
            rate = next(rates)
            w = w - rate * 2.0 * rows.T @ error / len(rows)
            b = b - rate * 2.0 * error.mean()
            w = np.sign(w) * np.maximum(np.abs(w) - rate * strength, 0.0)
    return w, b


def steps_match(kernel, bias, expected):
    np.testing.assert_array_equal(kernel == 0.0, expected[0] == 0.0)
    np.testing.assert_allclose(kernel, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(bias, expected[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("eager", [False, True])
def test_follows_a_schedule(sparse_problem, eager):
    x, y = sparse_problem
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay(
        [5, 11], [0.1, 0.05, 0.01]
    )
    model = linear(SoftThreshold(0.5), kernel_initializer="zeros")
    model.compile(keras.optimizers.SGD(schedule), "mse", run_eagerly=eager)
    model.fit(x, y, batch_size=64, epochs=4, shuffle=False, verbose=0)
    rates = [0.1] * 6 + [0.05] * 6 + [0.01] * 4
    steps_match(*model.get_weights(), proximal_sgd(x, y, rates, 0.5, 64, 4))


def test_follows_a_rate_that_is_set_between_epochs(sparse_problem):
    x, y = sparse_problem
    kernel, bias = weights_after(
        linear(SoftThreshold(0.5), kernel_initializer="zeros"),
        keras.optimizers.SGD(0.9),
        x,
        y,
        batch_size=64,
        epochs=3,
        callbacks=[
            keras.callbacks.LearningRateScheduler(lambda i: [0.1, 0.05, 0.0][i])
        ],
    )
    rates = [0.1] * 4 + [0.05] * 4 + [0.0] * 4
    steps_match(kernel, bias, proximal_sgd(x, y, rates, 0.5, 64, 3))


def test_a_second_compile_brings_its_own_rate(sparse_problem):
    x, y = sparse_problem
    model = linear(SoftThreshold(0.5), kernel_initializer="zeros")
    for rate in (0.1, 0.02):
        kernel, bias = weights_after(
            model, keras.optimizers.SGD(rate), x, y, batch_size=64, epochs=1
        )
    rates = [0.1] * 4 + [0.02] * 4
    steps_match(kernel, bias, proximal_sgd(x, y, rates, 0.5, 64, 2))


def test_one_step_for_each_accumulated_update(sparse_problem):
    """4 batches of 64 accumulated are one batch of 256."""
    x, y = sparse_problem
    kernel, bias = weights_after(
        linear(SoftThreshold(0.5), kernel_initializer="zeros"),
        keras.optimizers.SGD(0.1, gradient_accumulation_steps=4),
        x,
        y,
        batch_size=64,
        epochs=6,
    )
    steps_match(kernel, bias, proximal_sgd(x, y, [0.1] * 6, 0.5, 256, 6))


def test_no_step_while_gradients_are_accumulated():
    x, y = np.zeros((6, 2), "float32"), np.zeros((6, 1), "float32")
    model = linear(SoftThreshold(1.0), 2, kernel_initializer="ones")
    # 6 batches and an update every 4: one update.
    kernel, _ = weights_after(
        model,
        keras.optimizers.SGD(0.25, gradient_accumulation_steps=4),
        x,
        y,
        batch_size=1,
        epochs=1,
    )
    np.testing.assert_array_equal(kernel, [[0.75], [0.75]])


def test_inside_a_loss_scale_optimizer():
    x, y = np.zeros((2, 2), "float32"), np.zeros((2, 1), "float32")
    model = linear(SoftThreshold(1.0), 2, kernel_initializer="ones")
    inner = keras.optimizers.SGD(0.25)
    kernel, _ = weights_after(
        model, keras.optimizers.LossScaleOptimizer(inner), x, y, batch_size=1
    )
    np.testing.assert_array_equal(kernel, [[0.5], [0.5]])


def test_leaves_the_bias_alone():
    x, y = np.zeros((2, 2), "float32"), np.zeros((2, 1), "float32")
    plain, thresholded = (
        weights_after(
            linear(constraint, 2, bias_initializer="ones"),
            keras.optimizers.SGD(0.1),
            x,
            y,
            batch_size=1,
        )[1]
        for constraint in (None, SoftThreshold(1.0))
    )
    np.testing.assert_array_equal(plain, thresholded)


def test_adam_makes_exact_zeros(sparse_problem):
    x, y = sparse_problem
    kernel, _ = weights_after(
        linear(SoftThreshold(1.0)),
        keras.optimizers.Adam(0.05),
        x,
        y,
        batch_size=64,
        epochs=20,
    )
    assert 5 < np.sum(kernel == 0.0) < 20


def test_trains_on_after_saving(sparse_problem, tmp_path):
    x, y = sparse_problem
    model = linear(SoftThreshold(0.5), kernel_initializer="zeros")
    _ = weights_after(
        model, keras.optimizers.SGD(0.1), x, y, batch_size=64, epochs=1
    )
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    assert model.layers[0].kernel_constraint.get_config() == {"strength": 0.5}
    model.fit(x, y, batch_size=64, verbose=0, shuffle=False)
    steps_match(*model.get_weights(), proximal_sgd(x, y, [0.1] * 8, 0.5, 64, 2))


def test_half_precision_keeps_its_dtype():
    kernel = keras.Variable([0.5, -0.25], dtype="float16")
    kernel.constraint = SoftThreshold(1.0)
    gradient = keras.ops.zeros(2, "float16")
    keras.optimizers.SGD(0.25).apply([gradient], [kernel])
    found = keras.ops.convert_to_numpy(kernel)
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, [0.25, 0.0])


def test_says_so_where_no_optimizer_runs():
    with pytest.raises(RuntimeError, match=r"train with a Keras optimizer"):
        SoftThreshold(0.1)(np.ones(3, "float32"))
    layer = layers.Dense(2, kernel_constraint=SoftThreshold(0.1))
    layer.build((None, 3))
    with pytest.raises(RuntimeError, match=r"train with a Keras optimizer"):
        layer.kernel.constraint(layer.kernel)


@pytest.mark.parametrize("bad", [-0.1, float("nan"), float("inf")])
def test_strength_is_checked(bad):
    with pytest.raises(ValueError, match=r"`strength` of `SoftThreshold` must"):
        SoftThreshold(bad)
    with pytest.raises(TypeError, match=r"`strength` of `SoftThreshold` must"):
        SoftThreshold("0.1")


@pytest.mark.optimized
def test_a_threshold_of_zero_changes_no_bit():
    x = np.random.default_rng(0).normal(size=100).astype("float32")
    found = keras.ops.convert_to_numpy(soft_threshold(x, 0.0))
    np.testing.assert_array_equal(found, x)
