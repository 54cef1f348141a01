import numpy as np
import pytest

from keras_concepts.instruments.data.row_hashes import (
    hashes_of_rows,
    row_hashes,
    share_repeated,
)


@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "int32", "uint8", "bool", "float16"]
)
@pytest.mark.parametrize("width", [1, 3, 8])
def test_equal_rows_and_no_others(dtype, width):
    random = np.random.default_rng(0)
    rows = random.integers(0, 3, (2000, width)).astype(dtype)
    hashes = row_hashes(rows)
    different = len(np.unique(rows.astype("float64"), axis=0))
    assert len(np.unique(hashes)) == different
    first = (rows == rows[0]).all(axis=1)
    np.testing.assert_array_equal(hashes == hashes[0], first)


def test_many_rows_of_small_whole_numbers():
    """Whose bits end with zeros, as floats."""
    rows = np.stack(np.meshgrid(*[np.arange(60.0)] * 3), -1).reshape(-1, 3)
    assert len(np.unique(row_hashes(rows))) == len(rows)


def test_texts_and_negative_zeros():
    texts = np.array([["a"], ["b"], ["a"]], object)
    hashes = row_hashes(texts)
    assert hashes[0] == hashes[2] != hashes[1]
    assert len(set(row_hashes(np.array([[0.0], [-0.0]])))) == 1
    assert len(row_hashes(np.zeros((3, 0)))) == 3


def test_several_arrays():
    a, b = np.array([[1], [1], [2]]), np.array([[3], [4], [1]])
    assert len(set(hashes_of_rows([a, b]))) == 3
    # Which array a number is in matters.
    assert hashes_of_rows([a, b])[0] != hashes_of_rows([b, a])[0]
    assert share_repeated(row_hashes(a)) == pytest.approx(2 / 3)
    assert share_repeated(np.array([])) == 0
