import numpy as np
import pytest

from keras_concepts.instruments.data.labels import (
    class_of_rows,
    counted_classes,
    label_form,
    shares_of,
)


def a_head(kind="multiclass", units=3, rank=2, loss="X", activation="softmax"):
    return {
        "kind": kind,
        "units": units,
        "shape": [None] * (rank - 1) + [units],
        "loss": loss,
        "activation": activation,
    }


BINARY = a_head("binary", 1, activation="sigmoid")
TABLE = a_head("binary", 3, activation="sigmoid")
REAL = a_head("regression", 1, activation="linear")
ONE_HOT = np.eye(3)[[0, 1, 2, 2]]


@pytest.mark.parametrize(
    ("y", "head", "form"),
    [
        ([0, 1, 2, 2], a_head(), "sparse"),
        ([[0], [1], [2], [2]], a_head(), "sparse"),
        ([0.0, 1.0, 2.0], a_head(), "sparse"),
        ([-1, 0, 5], a_head(), "sparse"),
        ([0.5, 1.0, 2.0], a_head(), "real"),
        ([0.0, np.nan, 2.0], a_head(), "sparse"),
        ([[0, 1, 2], [2, 1, 0]], a_head(rank=3), "sparse"),
        (ONE_HOT, a_head(), "one_hot"),
        (ONE_HOT.astype(bool), a_head(), "one_hot"),
        (np.ones((4, 3)), a_head(), "multi_label"),
        (np.full((4, 3), 1 / 3), a_head(), "probabilities"),
        (2 * ONE_HOT, a_head(), "real"),
        ([0, 1, 1], BINARY, "binary"),
        ([[0.0], [1.0]], BINARY, "binary"),
        ([[0.25], [1.0]], BINARY, "probabilities"),
        ([1, 2, 2], BINARY, "real"),
        ([-1, 1, 1], BINARY, "real"),
        ([-1, 1, 1], a_head("binary", 1, loss="Hinge"), "binary"),
        (ONE_HOT, TABLE, "multi_label"),
        (ONE_HOT, REAL, "real"),
        ([0, 1, 1], REAL, "real"),
        ([np.nan, np.inf], BINARY, "real"),
        ([], BINARY, "real"),
        (["a", "b"], a_head(), "real"),
        # For unknown losses, the function says what is wanted.
        ([0, 1, 2], a_head("other"), "sparse"),
        ([0, 1], a_head("other", 1, activation="sigmoid"), "binary"),
        ([0.5, 2.0], a_head("other", 1, activation="linear"), "real"),
        ([0, 1, 2], a_head("other", 3, activation="linear"), "sparse"),
    ],
)
def test_forms(y, head, form):
    assert label_form(np.asarray(y), head) == form


def test_shares():
    y = np.array([0, 2, 2, -1, np.nan, 7])
    np.testing.assert_allclose(
        shares_of(y, "sparse", 3, ignore_class=7), [1 / 3, 0, 2 / 3]
    )
    np.testing.assert_allclose(
        shares_of(ONE_HOT, "one_hot", 3), [0.25, 0.25, 0.5]
    )
    assert shares_of(np.array([0, 1, 1, 1]), "binary", 1) == [0.75]
    answers = np.array([[1.0, -1], [0, 1]])
    np.testing.assert_allclose(
        shares_of(answers, "multi_label", 2, ignore_class=-1), [0.5, 1]
    )
    assert shares_of(y, "real", 1) is None
    assert shares_of(np.array([10**9]), "sparse", 3) is None
    assert counted_classes(y).tolist() == [0, 2, 2, 7]


def test_classes_of_rows():
    assert class_of_rows(np.array([[1], [0]]), "sparse").tolist() == [1, 0]
    assert class_of_rows(ONE_HOT, "one_hot").tolist() == [0, 1, 2, 2]
    bits = class_of_rows(np.array([[1, 0], [0, 1], [1, 0]]), "multi_label")
    assert bits[0] == bits[2] != bits[1]
    assert class_of_rows(np.zeros((2, 5)), "sparse") is None
