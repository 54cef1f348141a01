import numpy as np
import pytest

from keras_concepts.instruments.data.label_order import (
    LabelOrder,
    classes_per_batch,
    count_runs,
    distinct_expected,
    sortedness,
)


def test_sorted_and_random():
    random = np.random.default_rng(0).integers(0, 10, 5000)
    assert sortedness(np.sort(random)) == 1.0
    assert sortedness(random) < 0.03
    half = np.concatenate([np.sort(random[:2500]), random[2500:]])
    assert sortedness(half) == pytest.approx(0.5, abs=0.03)
    assert sortedness(np.tile([0, 1], 50)) == 0.0
    assert sortedness(np.zeros(9, int)) is None
    assert sortedness(np.arange(9)) is None
    assert sortedness(np.array([], int)) is None


def test_classes_in_a_batch():
    random = np.random.default_rng(0).integers(0, 10, 5000)
    assert classes_per_batch(random, 32) == pytest.approx(1.0, abs=0.02)
    assert classes_per_batch(np.sort(random), 32) < 0.15
    # Every batch holds all classes.
    assert classes_per_batch(np.tile(np.arange(10), 50), 10) > 1.4


def test_distinct_classes_by_drawing():
    counts = np.array([5.0, 3, 1, 1])
    pool = np.repeat(np.arange(4), counts.astype(int))
    random = np.random.default_rng(0)
    drawn = [
        len(set(random.choice(pool, 4, replace=False))) for _ in range(20000)
    ]
    assert distinct_expected(counts, 4) == pytest.approx(
        np.mean(drawn), abs=0.02
    )
    assert distinct_expected(counts, 10) == 4


def test_batch_by_batch():
    classes = np.sort(np.random.default_rng(0).integers(0, 5, 640))
    order = LabelOrder()
    for start in range(0, 640, 64):
        order.update(classes[start : start + 64])
    assert order.sortedness() == sortedness(classes) == 1.0
    assert order.classes_per_batch() == classes_per_batch(classes, 64)
    assert LabelOrder().sortedness() is None
    assert LabelOrder().classes_per_batch() is None


def shuffled_a_little(classes, rows, seed=0):
    """As a shuffle with a small buffer leaves them."""
    places = np.arange(len(classes)) + np.random.default_rng(seed).uniform(
        0, rows, len(classes)
    )
    return classes[np.argsort(places)]


SORTED = np.repeat(np.arange(4), 250)
# Short events, which are never the most frequent class of a batch.
EVENTS = np.where(np.arange(1000) % 100 < 10, 1, 0)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (SORTED, 4),
        (np.tile(np.repeat(np.arange(4), 64), 3), 12),
        (shuffled_a_little(SORTED, 40), 4),
        (EVENTS, 20),
        (np.zeros(9, int), 1),
        (np.zeros(0, int), None),
    ],
)
def test_runs(classes, expected):
    assert count_runs(classes, 32) == expected
    order = LabelOrder()
    for start in range(0, len(classes), 32):
        order.update(classes[start : start + 32])
    assert order.runs() == expected
