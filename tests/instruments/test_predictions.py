import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.instruments.predictions import prediction_rows

HEADS = [
    {"kind": "multiclass"},
    {"kind": "binary"},
    {"kind": "regression"},
    {},
]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("units", [1, 3])
def test_predictions_of_a_run_that_diverges(head, units):
    """No NumPy warning, which ends a run under `-W error`, and no number."""
    random = np.random.default_rng(0)
    predicted = random.normal(size=(8, units)).astype("float32")
    predicted[:4] = np.inf
    predicted[2] = -np.inf
    targets = [None, np.arange(8) % 2, random.normal(size=(8, units))]
    for target in targets:
        rows = prediction_rows(predicted, target, head)
        assert np.isnan(rows[q.PREDICTION_STD]).all()
        assert rows[q.PREDICTION_MAX] == np.inf
        assert rows[q.PREDICTION_MIN] == -np.inf
