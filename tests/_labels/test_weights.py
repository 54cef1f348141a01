"""Weights and masks, fitted to rows."""

import keras
import numpy as np
import pytest

from keras_concepts._labels.weights import aligned

ROWS = (4, 6)


def fitted(shape, **options):
    factors = keras.ops.convert_to_tensor(np.ones(shape, "float32"))
    return tuple(aligned("Thing", "mask", factors, ROWS, **options).shape)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), (1, 1)),
        ((4,), (4, 1)),
        ((4, 1), (4, 1)),
        ((4, 1, 1), (4, 1)),
        ((4, 6), (4, 6)),
        ((4, 6, 1), (4, 6)),
    ],
)
def test_fits_from_the_first_axis_on(given, expected):
    assert fitted(given) == fitted(given, stretch_first=True) == expected


@pytest.mark.parametrize("given", [(1,), (1, 1), (1, 6)])
def test_one_row_for_all(given):
    """A metric takes what `keras.metrics` takes; in a loss it is a mistake."""
    assert fitted(given, stretch_first=True)[0] == 1
    with pytest.raises(ValueError, match=r"`mask` of `Thing` .* \(4, 6\)"):
        fitted(given)


@pytest.mark.parametrize("given", [(6,), (5,), (4, 5), (4, 6, 5), (4, 6, 1, 2)])
@pytest.mark.parametrize("stretch_first", [False, True])
def test_does_not_fit(given, stretch_first):
    with pytest.raises(ValueError, match=r"Received: mask\.shape="):
        fitted(given, stretch_first=stretch_first)
