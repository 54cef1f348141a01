import copy
import dataclasses
import gc
import weakref

import keras
import numpy as np
import pytest

from keras_concepts.callbacks import TrainingDoctor
from keras_concepts.callbacks._careful import Careful
from keras_concepts.callbacks._on_finding import tell
from keras_concepts.rules import Finding

CERTAIN = Finding("non_finite", "error", "", (0, 1), (0, 1))


def told(model):
    said = []
    tell(CERTAIN, "stop", said.append, model, Careful("TrainingDoctor"))
    return said


def test_stop_says_it_and_stops():
    model = keras.Sequential([keras.layers.Dense(1)])
    assert told(model) == [f"TrainingDoctor: {CERTAIN.headline}"]
    assert model.stop_training


def test_stop_where_the_run_has_ended():
    """A run that `watch` concludes has no model any more."""
    assert told(None) == [f"TrainingDoctor: {CERTAIN.headline}"]


def test_a_certain_consequence_stops_too_and_is_not_printed():
    model = keras.Sequential([keras.layers.Dense(1)])
    finding = dataclasses.replace(CERTAIN, because_of="exploding_gradient")
    said = []
    tell(finding, "stop", said.append, model, Careful("TrainingDoctor"))
    assert not said
    assert model.stop_training


class DivergedError(Exception):
    pass


def diverging():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e10), "mse")
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("float32")
    return model, x, x[:, :1]


def test_a_diverging_run_is_stopped():
    model, x, y = diverging()
    doctor = TrainingDoctor(on_finding="stop", sink=lambda text: None)
    history = model.fit(x, y, epochs=9, verbose=0, callbacks=[doctor])
    assert len(history.epoch) < 5
    assert "non_finite" in {finding.rule for finding in doctor.findings}


def test_what_a_callable_raises_ends_the_fit():
    """Also where it is called in the middle of what must not fail."""

    def prune(finding):
        if finding.rule == "non_finite":
            raise DivergedError

    model, x, y = diverging()
    doctor = TrainingDoctor(on_finding=prune)
    with pytest.raises(DivergedError) as raised:
        _ = model.fit(x, y, epochs=9, verbose=0, callbacks=[doctor])
    assert copy.deepcopy(doctor).findings == doctor.findings != []
    # The doctor keeps neither the error nor, with it, the frames of `fit`.
    kept = weakref.ref(raised.value)
    del raised
    gc.collect()
    assert kept() is None
