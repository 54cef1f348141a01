"""All monitors at once, in each way that Keras can train a model.

What they measure is compared with the same training in float32 and run eagerly,
and the weights with the same training unwatched, bit by bit.
"""

import itertools

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
    TrainingDoctor,
)

pytestmark = pytest.mark.optimized
BACKEND = keras.backend.backend()

POLICIES = ("float32", "mixed_float16", "mixed_bfloat16")
COMPILED = {
    "auto": {},
    "jit": {"jit_compile": True},
    "no_jit": {"jit_compile": False},
    "eager": {"run_eagerly": True},
    "three_steps": {"steps_per_execution": 3},
}
ACCUMULATION = (None, 2)
WEIGHTS = ("none", "class", "sample")
# The others are `long`: each trains three models.
FEW = (
    ("mixed_float16", "auto", 2, "sample"),
    ("mixed_bfloat16", "eager", None, "class"),
)
ALL = tuple(itertools.product(POLICIES, COMPILED, ACCUMULATION, WEIGHTS))
# Of the largest value of a quantity: half precision rounds to 1e-3 and 8e-3,
# at each of the layers there and back.
TOLERANCE = {"float32": 1e-4, "mixed_float16": 0.02, "mixed_bfloat16": 0.1}
COMPARED = (
    "activation_rms",
    "batch_loss",
    "data_gradient_norm",
    "data_loss",
    "epoch_loss",
    "error_rms",
    "gradient_norm",
    "gradient_rms",
    "l2",
    "log_variance_ratio",
    "mean_shift",
    "penalty",
    "probe_inference_loss",
    "probe_loss",
    "update_rms",
    "weight_rms",
)


def cases():
    for case in ALL:
        marks = () if case in FEW else (pytest.mark.long,)
        yield pytest.param(*case, marks=marks, id="-".join(map(str, case)))


def network():
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(8, use_bias=False, kernel_regularizer="l2"),
            layers.BatchNormalization(momentum=0.9),
            layers.Activation("tanh"),
            layers.Dense(3, dtype="float32"),
        ]
    )
    random = np.random.default_rng(1)
    kernels = [w for w in model.trainable_weights if "kernel" in w.path]
    for kernel in kernels:
        kernel.assign(random.normal(size=kernel.shape, scale=0.3))
    return model


def train(policy, arguments, accumulation, weights, digits, callbacks):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    model.compile(
        keras.optimizers.SGD(
            0.1, momentum=0.9, gradient_accumulation_steps=accumulation
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        **arguments,
    )
    x, y = digits[0][:44], digits[1][:44]
    given = {
        "none": {},
        "class": {"class_weight": {0: 1.0, 1: 2.0, 2: 0.5}},
        "sample": {"sample_weight": np.linspace(0.0, 2.0, 44, dtype="float32")},
    }[weights]
    history = model.fit(
        x,
        y,
        batch_size=8,  # the last of six batches has four rows
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=callbacks,
        **given,
    )
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v) for v in variables], history.history


def monitors(digits):
    probe = digits[0][44:], digits[1][44:]
    return [
        GradientMonitor(max_samples=None),
        SignalMonitor(probe=probe),
        PenaltyReporter(),
        BatchNormShiftMonitor(max_samples=None),
        NonFiniteGuard(),
        TrainingDoctor(probe=probe, time_budget=None, sink=lambda text: None),
    ]


def measured(watching):
    """Values of each quantity, by monitor, owner, epoch, step and index."""
    found = {}
    for monitor in watching:
        rows = monitor.recording.select()
        for n, quantity in enumerate(rows.quantity):
            owner = rows.owner[n], int(rows.epoch[n]), int(rows.step[n])
            key = type(monitor).__name__, str(quantity)
            at = (*owner, int(rows.index[n]))
            found.setdefault(key, {})[at] = float(rows.value[n])
    return found


EAGER = {}  # what was measured of eager training in float32


def expected(accumulation, weights, digits):
    key = accumulation, weights
    if key not in EAGER:
        watching = monitors(digits)
        _ = train("float32", COMPILED["eager"], *key, digits, watching)
        EAGER[key] = measured(watching)
    return EAGER[key]


# torch.compile, on Keras' own tree functions.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.parametrize(
    ("policy", "how", "accumulation", "weights"), [*cases()]
)
def test_all_monitors(policy, how, accumulation, weights, digits):
    if BACKEND == "torch" and how == "three_steps":
        pytest.skip("steps_per_execution must be 1 with torch")
    if BACKEND == "torch" and how == "jit":
        pytest.skip("torch.compile takes minutes: test_bit_equality has it")
    mode = policy, COMPILED[how], accumulation, weights
    plain, logs = train(*mode, digits, [])
    watching = monitors(digits)
    watched, watched_logs = train(*mode, digits, watching)
    for a, b in zip(plain, watched, strict=True):
        np.testing.assert_array_equal(a, b)
    for key, values in logs.items():
        # XLA may add up a loss, which no weight depends on, in another order.
        by_xla = BACKEND == "jax" or how == "jit"
        close = 2e-7 if by_xla and policy != "float32" else 0.0
        np.testing.assert_allclose(watched_logs[key], values, rtol=close)
    assert [f.rule for m in watching[-1:] for f in m.findings] == []
    found = measured(watching)
    right = expected(accumulation, weights, digits)
    assert {quantity for _, quantity in right} >= set(COMPARED)
    for key, values in right.items():
        if key[1] not in COMPARED:
            continue
        # With several steps an execution the doctor measures other ones.
        monitor = key[0]
        common = values.keys() & found[key].keys()
        assert common == values.keys() or monitor == "TrainingDoctor"
        largest = max(map(abs, values.values()))
        np.testing.assert_allclose(
            [found[key][at] for at in common],
            [values[at] for at in common],
            rtol=0.0,
            atol=TOLERANCE[policy] * largest,
            err_msg=str(key),
        )
