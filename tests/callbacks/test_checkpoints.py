"""Files saved during or after a watched training are those of a plain one."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_concepts.callbacks import GradientMonitor

LOAD = """
import pathlib, keras, numpy as np
for path in sorted(pathlib.Path().glob("*.keras")):
    model = keras.models.load_model(path)
    values = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
    np.savez(path.with_suffix(".npz"), *model.get_weights(), *values)
import sys
assert not [name for name in sys.modules if "keras_concepts" in name]
"""


def make(optimizer):
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(6, "relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss)
    return model


def state(model):
    return [
        keras.ops.convert_to_numpy(v)
        for v in [*model.weights, *model.optimizer.variables]
    ]


def assert_equal(a, b):
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


class Saver(keras.callbacks.Callback):
    """Saves in the middle of training, and remembers the state it saved."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self.state = None

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.model.save(self.path)
            self.state = state(self.model)


def test_saved_models_load_without_this_package(digits, tmp_path):
    expected = {}
    for scaled in (False, True):
        optimizer = keras.optimizers.Adam(0.01)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        model = make(optimizer)
        saver = Saver(tmp_path / f"middle_{scaled}.keras")
        callbacks = [GradientMonitor(), saver]
        model.fit(*digits, epochs=2, verbose=0, callbacks=callbacks)
        model.save(tmp_path / f"end_{scaled}.keras")
        expected[f"middle_{scaled}"] = saver.state
        expected[f"end_{scaled}"] = state(model)
    subprocess.run([sys.executable, "-c", LOAD], check=True, cwd=tmp_path)
    for name, values in expected.items():
        with np.load(tmp_path / f"{name}.npz") as arrays:
            assert_equal(arrays.values(), values)


def test_model_checkpoint(digits, tmp_path):
    path = tmp_path / "best.weights.h5"
    model = make("adam")
    model.fit(
        *digits,
        epochs=2,
        verbose=0,
        callbacks=[
            GradientMonitor(),
            keras.callbacks.ModelCheckpoint(
                path,
                monitor="gradient_norm",
                mode="max",
                save_weights_only=True,
            ),
        ],
    )
    fresh = make("adam")
    fresh.optimizer.build(fresh.trainable_variables)
    fresh.load_weights(path)
    assert_equal(state(fresh), state(model))


@pytest.mark.parametrize("first", ["monitor", "backup"])
@pytest.mark.optimized
def test_backup_and_restore(first, digits, tmp_path):
    def train(epochs, callbacks):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(0)
        model = make("adam")
        model.fit(
            *digits,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
        return model

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise RuntimeError("power cut")

    def callbacks():
        pair = [
            GradientMonitor(),
            keras.callbacks.BackupAndRestore(tmp_path / "backup"),
        ]
        return pair if first == "monitor" else pair[::-1]

    with pytest.raises(RuntimeError, match="power cut"):
        train(4, [*callbacks(), Interrupt()])
    resumed = callbacks()
    model = train(4, resumed)
    monitor = resumed[0 if first == "monitor" else 1]
    assert set(monitor.recording.epoch) == {2, 3}
    assert_equal(state(model), state(train(4, [])))


def test_state_tree_has_no_extra_variable(digits):
    trees = []

    class Look(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            trees.append(self.model.get_state_tree())

    make("adam").fit(*digits, verbose=0, callbacks=[GradientMonitor(), Look()])
    make("adam").fit(*digits, verbose=0, callbacks=[Look()])
    watched, plain = (
        len(keras.tree.flatten(tree["optimizer_variables"])) for tree in trees
    )
    assert watched == plain > 0
