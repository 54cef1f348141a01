"""Batch normalization and the probe on two replicas, in another process."""

import subprocess
import sys

import keras
import pytest

SCRIPT = """
import numpy as np, keras, tensorflow as tf
import keras_concepts as kc
from keras import layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(
    cpu, [tf.config.LogicalDeviceConfiguration()] * 2
)
s = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x = np.random.default_rng(0).normal(3, 2, size=(64, 6)).astype("float32")
y = (x[:, :3]).argmax(1)
NAME = "BatchNormalization"

def run(watch, sync):
    keras.utils.set_random_seed(0)
    with s.scope():
        norm = (kc if watch else keras).layers
        norm = getattr(norm, ("Monitored" if watch else "") + NAME)
        probe = [kc.layers.ActivationProbe("relu")] if watch else []
        m = keras.Sequential(
            [
                keras.Input((6,)),
                norm(synchronized=sync),
                layers.Dense(8, "relu", kernel_initializer="ones"),
                *probe,
                layers.Dense(3, "softmax", kernel_initializer="ones"),
            ]
        )
        m.compile("adam", "sparse_categorical_crossentropy")
        cb = [kc.callbacks.BatchNormShiftMonitor((x, y))] if watch else []
        m.fit(x, y, 16, epochs=2, shuffle=False, verbose=0, callbacks=cb)
    return m, cb
for sync in (False, True):
    plain, _ = run(False, sync)
    watched, callbacks = run(True, sync)
    norm, _, probe, _ = watched.layers
    kept = [w for x in watched.layers if x is not probe for w in x.weights]
    for a, b in zip(plain.weights, kept, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    # Of the first replica: half of each batch.
    assert norm.statistics().batches == 8
    assert (probe.statistics().entries == 64).all()
    assert callbacks[0].recording.select("", "inference_gap").value.any()
    kc.recalibrate_batch_norm(watched, x)
    mean = keras.ops.convert_to_numpy(norm.moving_mean)
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-5)
"""


def test_two_replicas():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("MirroredStrategy is TensorFlow's")
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
