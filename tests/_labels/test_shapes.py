"""Labels of every shape mean the same to losses and metrics."""

import keras
import numpy as np
import pytest

from keras_concepts._labels.rows import read_rows
from keras_concepts._labels.shapes import form_of
from keras_concepts._labels.targets import binary_targets, categorical_targets

NUMBERS = np.array([[0, 2, 1], [1, 1, 0]])
ONE_HOT = np.eye(4)[NUMBERS]
SCORES = np.full((2, 3, 4), 0.25, "float32")


@pytest.mark.parametrize(
    ("labels", "predictions", "form"),
    [
        ((8,), (8, 5), "sparse"),
        ((8, 1), (8, 5), "sparse"),
        ((8, 5), (8, 5), "dense"),
        ((8, 6), (8, 6, 5), "sparse"),
        ((8, 6, 1), (8, 6, 5), "sparse"),
        ((8,), (8, 1), "dense"),
        ((8, 1), (8, 1), "dense"),
        ((None,), (8, 5), "sparse"),
        ((None, None), (None, 5), "unknown"),
        ((None, 5), (None, 5), "dense"),
        ((None, None), (None, 1), "dense"),
        ((None, None), (None, None, 5), "sparse"),
        ((), (5,), "sparse"),
        ((7,), (8, 5), None),
        ((1,), (8, 5), None),
        ((8, 4), (8, 5), None),
        ((8, 5), (8,), None),
        ((8, 6, 1), (8, 5), None),
        ((8, 8), (8, 1), None),
    ],
)
def test_form_of_labels(labels, predictions, form):
    assert form_of(labels, predictions) == form


def rows(y_true, y_pred, axis=-1, labels="auto"):
    options = {
        "labels": labels,
        "axis": axis,
        "ignore_class": None,
        "one_class": False,
    }
    return read_rows("Thing", y_true, y_pred, None, None, **options)


def targets(y_true, y_pred, axis=-1):
    y_true = keras.ops.convert_to_tensor(y_true)
    y_pred = keras.ops.convert_to_tensor(y_pred)
    return categorical_targets("Thing", y_true, y_pred, axis, None)


@pytest.mark.parametrize(
    ("y_true", "axis"),
    [
        (NUMBERS, -1),
        (NUMBERS[..., None], -1),
        (NUMBERS.astype("float64"), -1),
        (ONE_HOT, -1),
        (ONE_HOT.astype("int32"), -1),
        (NUMBERS, 1),
        (NUMBERS[:, None], 1),
        (np.moveaxis(ONE_HOT, -1, 1), 1),
    ],
)
def test_losses_and_metrics_read_the_same(y_true, axis):
    y_pred = np.moveaxis(SCORES, -1, axis)
    of_loss = keras.ops.convert_to_numpy(targets(y_true, y_pred, axis).targets)
    of_metric = keras.ops.convert_to_numpy(
        rows(y_true, y_pred, axis).labels.dense()
    )
    np.testing.assert_array_equal(of_loss, ONE_HOT)
    np.testing.assert_array_equal(of_metric, ONE_HOT.reshape(-1, 4))


@pytest.mark.parametrize("read", [rows, targets])
def test_expected_shapes_are_those_of_the_user(read):
    with pytest.raises(
        ValueError,
        match=r"Labels of `Thing` must be class numbers, of shape \(2, 3\) or "
        r"\(2, 1, 3\), or have the shape of the predictions, \(2, 4, 3\)\. "
        r"Received: y_true.shape=\(2, 4\), y_pred.shape=\(2, 4, 3\) with "
        "axis=1",
    ):
        read(np.zeros((2, 4)), np.moveaxis(SCORES, -1, 1), axis=1)


def test_one_column_is_never_class_numbers():
    message = r"must have the shape of the predictions, \(3, 1\) or \(3,\)"
    scores = np.zeros((3, 1), "float32")
    with pytest.raises(ValueError, match=message):
        rows(np.zeros((3, 2)), scores)
    with pytest.raises(ValueError, match=message):
        rows(np.zeros(3), scores, labels="sparse")
    with pytest.raises(ValueError, match=message):
        binary_targets(
            "Thing", np.zeros((3, 2)), keras.ops.zeros((3, 1)), -1, None
        )
