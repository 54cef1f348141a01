"""What runs beside a distributed training runs as on one device."""

import subprocess
import sys
import textwrap

import keras
import pytest

SCRIPT = """
import contextlib
import keras, numpy as np, tensorflow as tf
import keras_concepts as kc

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
random = np.random.default_rng(0)
x = random.normal(size=(20, 6)).astype("float32")
y = x[:, :3].argmax(axis=1)
kernel = random.normal(size=(6, 3))

def scope_of(inside):
    return strategy.scope() if inside else contextlib.nullcontext()

def probed(made_inside, fit_inside):
    with scope_of(made_inside):
        model = keras.Sequential(
            [
                keras.Input((6,)),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.5),
                keras.layers.Dense(3, "softmax", kernel_regularizer="l2"),
            ]
        )
        model.layers[-1].set_weights([kernel, np.zeros(3)])
        model.compile(
            keras.optimizers.SGD(0.0), "sparse_categorical_crossentropy"
        )
    signals = kc.callbacks.SignalMonitor((x, y), training=False)
    shifts = kc.callbacks.BatchNormShiftMonitor((x, y))
    with scope_of(fit_inside):
        model.fit(x, y, batch_size=10, verbose=0, callbacks=[signals, shifts])
        prediction = kc.mc_predict(model, x, samples=4, batch_size=8, seed=1)
    return (
        signals.recording.select("", "probe_loss", -1).value,
        signals.recording.select("*dense*", "error_rms", -1).value,
        shifts.recording.select("", "training_loss").value,
        prediction.mean.shape + prediction.entropy.shape,
        prediction.std.max() > 0.0,
    )

alone = probed(False, False)
for inside in (False, True):
    for a, b in zip(alone, probed(True, inside), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
"""


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="of tf.distribute"
)
def test_probes_and_samples_under_replicas():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
