"""A resumed run continues with the number of steps really taken.

On TensorFlow, the optimizer also counts the step that finds no more data.
"""

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts import Recording
from keras_concepts.callbacks import GradientMonitor

BACKEND = keras.backend.backend()
X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
BATCHES, SAVED = 7, 3

pytestmark = pytest.mark.filterwarnings("ignore:Your input ran out of data")


class Batches:
    """Data of unknown length, which count the batches that they hand out."""

    def __init__(self):
        self.handed = 0

    def __iter__(self):
        for _ in range(BATCHES):
            self.handed += 1
            yield X, X[:, :1]

    def for_fit(self):
        if BACKEND != "tensorflow":
            return iter(self)
        import tensorflow as tf

        return tf.data.Dataset.from_generator(
            lambda: iter(self),
            output_signature=(tf.TensorSpec((4, 3)), tf.TensorSpec((4, 1))),
        )


class Backup(keras.callbacks.BackupAndRestore):
    """Notes the epoch in which it saved, and after how many batches."""

    def __init__(self, path, epoch):
        super().__init__(path, save_freq=SAVED)
        self._current_epoch = epoch  # Keras counts only those of one `fit`
        self.saved = -1, 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches = batch + 1
        super().on_train_batch_end(batch, logs)

    def _save_model(self):
        self.saved = self._current_epoch, self.batches
        super()._save_model()


class PowerCut(keras.callbacks.Callback):
    """Ends a `fit` after it was saved in an epoch."""

    def __init__(self, epoch, backup):
        super().__init__()
        self.epoch, self.backup = epoch, backup

    def on_train_batch_begin(self, batch, logs=None):
        if batch > SAVED and self.backup.saved[0] == self.epoch:
            raise RuntimeError("power cut")


def compiled(steps):
    keras.utils.set_random_seed(0)
    head = layers.Dense(1, name="head")
    model = keras.Sequential([keras.Input((3,)), head], name="net")
    # XLA would keep TensorFlow from counting too much.
    jit = BACKEND == "jax"
    model.compile("adam", "mse", steps_per_execution=steps, jit_compile=jit)
    return model


CASES = [
    # Steps of an execution, of an epoch; whole epochs before; fits for them.
    (1, None, 0, 1),
    (1, 9, 2, 2),
    (1, None, 2, 1),
    (3, None, 2, 1),
]
LONG = [
    (1, 9, 0, 1),
    (1, None, 2, 2),
    (1, 9, 2, 1),
    (3, None, 0, 1),
    (3, 9, 0, 1),
    (3, None, 2, 2),
    (3, 9, 2, 2),
]


@pytest.mark.parametrize(
    ("steps", "planned", "whole", "fits"),
    [*CASES, *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)],
)
def test_data_that_run_out(steps, planned, whole, fits, tmp_path):
    """After some whole epochs, a `fit` is interrupted and resumed."""
    if steps > 1 and BACKEND == "torch":
        pytest.skip("steps_per_execution must be 1 with torch")
    if whole > fits and BACKEND != "tensorflow":
        pytest.skip("Keras reads other data of unknown length only once")
    path, data, model = tmp_path / "run.jsonl", Batches(), compiled(steps)

    def fit(model, data, *callbacks, **epochs):
        monitor = GradientMonitor(record_to=path, max_samples=None)
        _ = model.fit(
            data.for_fit(),
            steps_per_epoch=planned,
            shuffle=False,
            verbose=0,
            callbacks=[monitor, *callbacks],
            **epochs,
        )

    first = whole if fits > 1 else 0
    for epoch in range(first):
        fit(model, data, initial_epoch=epoch, epochs=epoch + 1)
    backup = Backup(tmp_path / "backup", first)
    epochs = {"initial_epoch": first, "epochs": whole + 1}
    with pytest.raises(RuntimeError, match="power cut"):
        fit(model, data, backup, PowerCut(whole, backup), **epochs)
    again = Batches()
    fit(
        compiled(steps),
        again,
        Backup(tmp_path / "backup", whole),
        epochs=whole + 1,
    )

    handed = whole * BATCHES
    assert data.handed > handed
    assert again.handed == BATCHES
    assert backup.saved[0] == whole
    begun = handed + backup.saved[1]
    rows = Recording.load(path).select("", "batch_loss")
    expected = [*range(handed), *range(begun, begun + BATCHES)]
    assert rows.step.tolist() == expected
    numbers = [e for e in range(whole + 1) for _ in range(BATCHES)]
    assert rows.epoch.tolist() == numbers
    ends = Recording.load(path).select("loss").step.tolist()
    assert ends == [*range(BATCHES, handed + 1, BATCHES), begun + BATCHES]
