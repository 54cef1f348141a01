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


def test_entries_that_a_mask_leaves():
    predicted = np.eye(3)[[[0, 1, 2], [1, 1, 1]]]
    labels = np.array([[0, 1, 0], [2, 0, 0]])
    mask = np.array([[True, True, False], [True, False, False]])
    head = {"kind": "multiclass"}
    rows = prediction_rows(predicted, labels, head, mask)
    assert rows[q.PROBE_ACCURACY] == pytest.approx(2 / 3)
    np.testing.assert_allclose(rows[q.PREDICTED_SHARE], [1 / 3, 2 / 3, 0])
    np.testing.assert_array_equal(rows[q.PROBE_CLASS_COUNT], [1, 1, 1])
    np.testing.assert_array_equal(rows[q.PROBE_RECALL], [1, 1, 0])
    hidden = prediction_rows(predicted, labels, head, mask & False)
    assert q.PROBE_ACCURACY not in hidden
    assert q.PREDICTION_STD in hidden
    plain = prediction_rows(predicted, labels, head)
    other = prediction_rows(predicted, labels, head, mask[:, :2])
    assert plain[q.PROBE_ACCURACY] == other[q.PROBE_ACCURACY]
