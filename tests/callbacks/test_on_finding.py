import keras

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
