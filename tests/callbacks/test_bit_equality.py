"""Watching changes nothing: weights, optimizer and logs to the last bit."""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.callbacks import (
    BatchNormShiftMonitor,
    GradientMonitor,
    NonFiniteGuard,
    PenaltyReporter,
    SignalMonitor,
)

pytestmark = pytest.mark.optimized

OPTIMIZERS = {
    "sgd_momentum": lambda: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(0.01),
    "adamw_clipped": lambda: keras.optimizers.AdamW(0.01, global_clipnorm=0.1),
    "accumulation": lambda: keras.optimizers.Adam(
        0.01, gradient_accumulation_steps=2
    ),
    "loss_scaled": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(0.01)
    ),
    "ema": lambda: keras.optimizers.Adam(0.01, use_ema=True),
}
COMPILE = {
    "default": {},
    "jit": {"jit_compile": True},
    "no_jit": {"jit_compile": False},
    "eager": {"run_eagerly": True},
}
PLAIN = {}  # what was trained without monitors, for several comparisons


def network(convolutional):
    image = [
        layers.Reshape((4, 3, 1)),
        layers.Conv2D(4, 2, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Flatten(),
    ]
    return keras.Sequential(
        [
            keras.Input((12,)),
            *(image if convolutional else [layers.BatchNormalization()]),
            layers.Dropout(0.3),
            layers.Dense(16, "relu", kernel_regularizer="l2"),
            layers.Dense(3, dtype="float32"),
        ]
    )


def rows_of(make_optimizer, compile_arguments):
    # TensorFlow and PyTorch take seconds to compile each function and shape:
    # one compiled training meets a partial batch, and none an evaluation. On
    # PyTorch, that one has a long test of its own.
    jit = compile_arguments.get("jit_compile", False)
    policy = keras.config.dtype_policy().name
    once = make_optimizer is OPTIMIZERS["adam"] and policy == "float32"
    once = once and keras.backend.backend() != "torch"
    return 20 if jit and not once else 25


def train(make_optimizer, compile_arguments, digits, callbacks):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    jit = compile_arguments.get("jit_compile", False)
    rows = rows_of(make_optimizer, compile_arguments)
    x, y = digits[0][:rows], digits[1][:rows]
    # torch.compile cannot lower Keras' convolutions, watched or not.
    torch_compiles = (
        keras.backend.backend() == "torch"
        and "jit_compile" in compile_arguments
    )
    model = network(convolutional=not torch_compiles)
    model.compile(
        make_optimizer(),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **compile_arguments,
    )
    history = model.fit(
        x,
        y,
        batch_size=10,  # the last batch of 25 rows is a partial one
        epochs=2,
        validation_data=None if jit else (x, y),
        validation_batch_size=25,
        verbose=0,
        callbacks=callbacks,
    )
    return model, history.history


def assert_same_training(make_optimizer, arguments, digits, **monitor):
    monitors = [GradientMonitor(**monitor)]
    assert_monitors_change_nothing(make_optimizer, arguments, digits, monitors)


def assert_monitors_change_nothing(make_optimizer, arguments, digits, monitors):
    policy = keras.config.dtype_policy().name
    key = make_optimizer, policy, *arguments.items()
    if key not in PLAIN:
        PLAIN[key] = train(make_optimizer, arguments, digits, [])
    plain, logs = PLAIN[key]
    watched, watched_logs = train(make_optimizer, arguments, digits, monitors)
    for a, b in zip(plain.variables, watched.variables, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a),
            keras.ops.convert_to_numpy(b),
            err_msg=a.path,
        )
    states = plain.optimizer.variables, watched.optimizer.variables
    for a, b in zip(*states, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(a),
            keras.ops.convert_to_numpy(b),
            err_msg=a.path,
        )
    for key, values in logs.items():
        assert watched_logs[key] == values, key


def skip_slow_compilation(arguments):
    if keras.backend.backend() == "torch" and arguments == "jit":
        pytest.skip("torch.compile takes a minute each time: once is enough")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers(optimizer, digits):
    assert_same_training(OPTIMIZERS[optimizer], {}, digits)


# torch.compile, on Keras' own tree functions.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize("arguments", ["jit", "no_jit", "eager"])
@pytest.mark.parametrize("optimizer", ["adam", "accumulation"])
def test_compilation(optimizer, arguments, digits):
    if optimizer != "adam":
        skip_slow_compilation(arguments)
    assert_same_training(OPTIMIZERS[optimizer], COMPILE[arguments], digits)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_compilation_for_a_partial_batch(digits, monkeypatch):
    monkeypatch.setitem(globals(), "rows_of", lambda *arguments: 25)
    monkeypatch.setitem(globals(), "PLAIN", {})
    assert_same_training(OPTIMIZERS["adam"], COMPILE["jit"], digits)


@pytest.mark.parametrize("arguments", COMPILE)
def test_mixed_precision(arguments, digits):
    skip_slow_compilation(arguments)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert_same_training(OPTIMIZERS["adam"], COMPILE[arguments], digits)
    finally:
        keras.config.set_dtype_policy(policy)


def test_thinned_samples(digits):
    # Measured and unmeasured steps run different compiled functions.
    assert_same_training(OPTIMIZERS["adam"], {}, digits, max_samples=2)


def test_several_steps_an_execution(digits):
    if keras.backend.backend() == "torch":
        pytest.skip("steps_per_execution must be 1 with torch")
    assert_same_training(OPTIMIZERS["adam"], {"steps_per_execution": 3}, digits)


def test_all_monitors_together(digits):
    monitors = [
        GradientMonitor(max_samples=2),
        PenaltyReporter(),
        BatchNormShiftMonitor(probe=digits, max_samples=2),
        SignalMonitor(probe=digits),
        NonFiniteGuard(),
    ]
    assert_monitors_change_nothing(OPTIMIZERS["adam"], {}, digits, monitors)
    assert all(len(monitor.recording) for monitor in monitors)
