import numpy as np

from keras_concepts.instruments.step.replicas import (
    mean_over_replicas,
    read_replicas,
)


class Buffer:
    """Of three replicas, one of which has taken no share of the last step."""

    def __init__(self):
        self.cleared = 0

    def read(self):
        rows = np.arange(24.0, dtype="float32").reshape(3, 4, 2)
        return [(each, np.array([i, 1 - i]), 3) for i, each in enumerate(rows)]

    def clear(self):
        self.cleared += 1


def test_rows_and_peaks():
    buffer = Buffer()
    rows, peaks, count = read_replicas(buffer)
    assert rows.shape == (3, 3, 2)
    assert rows[1, 0].tolist() == [8.0, 9.0]
    assert peaks.tolist() == [2.0, 1.0]
    assert count == 3
    assert buffer.cleared == 1


def test_means_by_size():
    loss = np.array([[1.0, 4.0, np.nan, 1.0], [2.0, 7.0, 5.0, np.nan]])
    size = np.array([[3.0, 1.0, 0.0, 2.0], [1.0, 1.0, 4.0, 2.0]])
    found = mean_over_replicas(loss, size)
    np.testing.assert_allclose(found, [1.25, 5.5, 5.0, np.nan])


def test_sizes_that_are_not_known():
    loss = np.array([[1.0], [2.0]])
    assert mean_over_replicas(loss, np.full((2, 1), np.nan)) == 1.5


def test_one_replica_is_left_as_it_is():
    loss = np.array([[1.0, np.nan]])
    np.testing.assert_array_equal(mean_over_replicas(loss, loss), loss[0])
