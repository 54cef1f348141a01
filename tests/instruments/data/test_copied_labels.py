import numpy as np
import pytest

from keras_concepts.instruments.data.copied_labels import copied_input

IDS = np.random.default_rng(0).integers(1, 9, (400, 6))


@pytest.mark.parametrize("y", [IDS, IDS[..., None], IDS.astype("float32")])
def test_labels_that_equal_an_input(y):
    assert copied_input(IDS, y) == "input"
    given = {"length": np.full((400, 1), 6), "ids": IDS}
    assert copied_input(given, y) == "ids"


def test_shifted_labels():
    assert copied_input(IDS[:, :-1], IDS[:, 1:]) is None


def test_one_entry_that_differs():
    y = IDS[:200].copy()
    y[3, 1] += 1
    assert copied_input(IDS[:200], y) is None


def test_labels_that_are_ignored():
    y = IDS.copy()
    y[:, 4:] = -100
    assert copied_input(IDS, y) is None
    assert copied_input(IDS, y, [None, -100]) == "input"
    assert copied_input(IDS, np.full_like(IDS, -100), [-100]) is None


@pytest.mark.parametrize(
    "x", [IDS.astype("float32"), IDS[:, :2], np.ones_like(IDS), IDS[:, 0]]
)
def test_what_is_no_sequence_of_tokens(x):
    assert copied_input(x, x) is None


def test_labels_per_row():
    assert copied_input(IDS, IDS[:, 0]) is None
    assert copied_input(None, IDS) is None
    assert copied_input(IDS, None) is None
