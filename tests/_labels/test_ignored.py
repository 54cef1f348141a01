"""Labels that are to be ignored, in every form."""

import keras
import numpy as np
import pytest

from keras_concepts._labels.rows import read_rows
from keras_concepts._labels.targets import binary_targets, categorical_targets


def counted_rows(y_true, classes, ignore_class):
    scores = np.zeros((len(y_true), classes), "float32")
    rows = read_rows(
        "Thing",
        y_true,
        scores,
        None,
        None,
        labels="auto",
        axis=-1,
        ignore_class=ignore_class,
        one_class=True,
    )
    return keras.ops.convert_to_numpy(rows.weights)[:, 0].tolist()


def counted_targets(read, y_true, classes, ignore_class):
    y_pred = keras.ops.zeros((len(y_true), classes))
    labels = keras.ops.convert_to_tensor(y_true)
    found = read("Thing", labels, y_pred, -1, ignore_class)
    return keras.ops.convert_to_numpy(found.counted)[:, 0].tolist()


@pytest.mark.parametrize("ignore_class", [-1, 255])
def test_class_numbers(ignore_class):
    numbers = np.array([0, ignore_class, 2])
    expected = [1, 0, 1]
    assert counted_rows(numbers, 3, ignore_class) == expected
    assert (
        counted_targets(categorical_targets, numbers, 3, ignore_class)
        == expected
    )


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float64"])
def test_answers_of_every_dtype(dtype):
    """-1 is in no bool or uint8, and 255 is not -1."""
    answers = np.array([0, 1, 1]).astype(dtype)
    cases = ((-1, [1, 1, 1]), (float("nan"), [1, 1, 1]), (1, [1, 0, 0]))
    for ignore_class, expected in cases:
        assert counted_rows(answers, 1, ignore_class) == expected
        assert (
            counted_targets(binary_targets, answers, 1, ignore_class)
            == expected
        )
    assert counted_rows(np.array([255], "uint8"), 300, -1) == [1]


def test_distributions():
    """A metric leaves out the rows of a class; a loss has no such rows."""
    one_hot = np.eye(3)[[0, 1, 2]]
    assert counted_rows(one_hot, 3, 1) == [1, 0, 1]
    with pytest.raises(ValueError, match="one of the 3 classes"):
        counted_rows(one_hot, 3, -1)
    with pytest.raises(ValueError, match="needs class numbers"):
        counted_targets(categorical_targets, one_hot, 3, 1)
