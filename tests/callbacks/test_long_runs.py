"""A run so long that its recording leaves out rows."""

import keras
import numpy as np
from keras import layers

from keras_concepts import Recording, diagnose
from keras_concepts._recording import thinning
from keras_concepts.callbacks import TrainingDoctor

X = np.random.default_rng(0).normal(size=(16, 4)).astype("float32")
Y = (X[:, 0] > 0.0).astype("int64")


def fit(callbacks):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(3, "relu"), layers.Dense(2)],
    )
    model.compile("sgd", "sparse_categorical_crossentropy")  # takes no logits
    _ = model.fit(X, Y, epochs=50, verbose=0, callbacks=callbacks)
    return [np.array(each) for each in model.get_weights()]


def test_the_doctor_and_its_file_agree(tmp_path, monkeypatch):
    monkeypatch.setattr(thinning, "MOST_ROWS", 100)
    monkeypatch.setattr(thinning, "MOST_BYTES", 150_000)
    path = tmp_path / "run.jsonl"
    doctor = TrainingDoctor(
        record_to=path, on_finding=lambda finding: None, time_budget=None
    )
    weights = fit([doctor])
    assert doctor.findings
    loaded = Recording.load(path)
    assert loaded.runs[0].left_out
    assert len(loaded) == len(doctor.recording)
    np.testing.assert_array_equal(loaded.value, doctor.recording.value)
    np.testing.assert_array_equal(loaded.step, doctor.recording.step)
    assert diagnose(loaded) == doctor.findings
    assert len(loaded.select("loss", "log")) == 50
    for mine, plain in zip(weights, fit([]), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_what_is_below_the_bound_is_whole():
    doctor = TrainingDoctor(on_finding=lambda finding: None, time_budget=None)
    _ = fit([doctor])
    assert doctor.recording.runs[0].left_out == {}
    found = {s.epoch for s in doctor.recording.select(quantity="gradient_rms")}
    assert found == {*range(50)}
