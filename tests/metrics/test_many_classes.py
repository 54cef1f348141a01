"""A hundred thousand classes: exact, or refused in a sentence."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from keras_concepts.metrics import (
    ClassificationReport,
    ConfusionMatrix,
    F1Score,
)

CLASSES, ROWS = 100_000, 32


def labels_and_scores():
    random = np.random.default_rng(0)
    y = random.integers(0, CLASSES, ROWS)
    y[::4] = y[1::4]  # some class is there more than once
    predicted = y.copy()
    predicted[::3] = random.integers(0, CLASSES, len(y[::3]))
    scores = np.zeros((ROWS, CLASSES), "float32")
    scores[np.arange(ROWS), predicted] = 1.0
    return y, predicted, scores


def test_scores_are_exact_and_memory_is_three_counts_a_class():
    y, predicted, scores = labels_and_scores()
    expected = oracle.f1_score(y, predicted, average="macro")
    seen = len(np.union1d(y, predicted))
    metric = F1Score("macro")
    report = ClassificationReport()
    for each in (metric, report):
        each.update_state(y, scores)
        # A count is a float64, or three float32 words.
        size = sum(int(np.prod(v.shape)) for v in each.variables)
        assert size < 10 * CLASSES
    # Classes that have not been seen count as 0.
    found = float(metric.result()) * CLASSES / seen
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    macro = {key: float(value) for key, value in report.result().items()}
    [name] = [key for key in macro if "f1" in key and "macro" in key]
    found = macro[name] * CLASSES / seen
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_matrix_of_them_is_refused():
    y, _, scores = labels_and_scores()
    message = r"at most 16384.*80 GB.*`ClassificationReport`.*num_classes=1000"
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix().update_state(y, scores)
    with pytest.raises(ValueError, match=message):
        ConfusionMatrix(num_classes=CLASSES)
