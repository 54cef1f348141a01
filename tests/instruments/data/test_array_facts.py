import json

import keras
import numpy as np
import pytest
from keras import layers

from keras_concepts.instruments.data.array_facts import (
    array_facts,
    count_non_finite,
    overlap_of_rows,
)
from keras_concepts.instruments.data.rows import spread_rows, take_rows
from keras_concepts.instruments.heads import heads_of

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 4)).astype("float32")
Y = np.sort(RANDOM.integers(0, 3, 200))


def the_heads(loss="sparse_categorical_crossentropy", units=3):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units)])
    model.compile("sgd", loss)
    return heads_of(model)


def test_a_table():
    facts = array_facts(X, Y, None, the_heads(), batch_size=20, shuffled=False)
    assert facts == json.loads(json.dumps(facts))
    assert (facts["rows"], facts["of"], facts["step"]) == (200, 200, 0)
    [values] = facts["inputs"]
    assert values["mean"] == pytest.approx(X.mean(), rel=1e-4)
    [labels] = facts["targets"]
    assert labels["form"] == "sparse"
    assert labels["shares"] == pytest.approx(np.bincount(Y) / 200)
    assert labels["largest_share"] == pytest.approx(np.bincount(Y).max() / 200)
    assert (labels["distinct"], labels["sorted"]) == (3, 1.0)
    assert labels["runs"] == 3
    assert labels["classes_per_batch"] < 0.5
    assert labels["std"] == pytest.approx(Y.std())
    assert facts["missing"] == []
    shuffled = array_facts(X, Y, None, the_heads(), batch_size=20)
    assert shuffled["targets"][0]["classes_per_batch"] == 1.0


def test_what_is_rare_is_found_in_long_arrays():
    x = np.zeros((300_000, 8), "float32")
    x[12345, 3] = np.nan
    facts = array_facts(x, None, None, the_heads())
    assert facts["inputs"][0]["non_finite"] == 1
    assert facts["rows"] < facts["of"] == 300_000
    assert "no labels" in facts["missing"][0]
    huge = np.full((9, 2), 3e38, "float32")  # whose sum is not finite
    assert count_non_finite(huge) == 0


def test_validation_rows():
    held = np.concatenate([X[:10], X[:30] + 1])
    facts = array_facts(
        X, Y, None, the_heads(), validation=(held, Y[:40], None)
    )
    validation = facts["validation"]
    assert validation["rows"] == 40
    assert validation["overlap"] == 0.25
    assert validation["repeated"] == 0
    assert validation["targets"][0]["shares"] == pytest.approx(
        np.bincount(Y[:40], minlength=3) / 40
    )
    # Float64 rows are the rows that `fit` makes of them.
    assert overlap_of_rows(X, X.astype("float64"))[0] == 1.0
    assert overlap_of_rows([X, X], [X, X + 1])[0] == 0.0
    assert overlap_of_rows(np.concatenate([X, X]), X) == (1.0, 1.0)


def test_overlap_of_some_rows():
    rows = RANDOM.normal(size=(50_000, 2)).astype("float32")
    held = np.concatenate([rows[:3000], RANDOM.normal(size=(3000, 2))])
    assert overlap_of_rows(rows, held.astype("float32"))[0] == pytest.approx(
        0.5, abs=0.05
    )


@pytest.mark.parametrize("structure", ["dict", "list"])
def test_several_inputs_and_outputs(structure):
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    y = {
        "p": layers.Dense(1, name="p")(a),
        "q": layers.Dense(3, name="q")(b),
    }
    loss = {"p": "mse", "q": "sparse_categorical_crossentropy"}
    x, labels = {"a": X, "b": 2 * X}, {"p": X[:, 0], "q": Y}
    if structure == "list":
        x, labels, y, loss = (list(e.values()) for e in (x, labels, y, loss))
    model = keras.Model([a, b], y)
    model.compile("sgd", loss)
    facts = array_facts(x, labels, None, heads_of(model))
    names = ["a", "b"] if structure == "dict" else ["input_0", "input_1"]
    assert [each["name"] for each in facts["inputs"]] == names
    forms = {each["output"]: each["form"] for each in facts["targets"]}
    assert forms == {"p": "real", "q": "sparse"}


def test_what_cannot_be_read():
    texts = np.array([["a b"], ["c"]], object)
    facts = array_facts(texts, np.array([0, 1]), None, the_heads())
    assert facts["inputs"][0]["dtype"] == "string"
    assert "holds text" in facts["missing"][0]
    facts = array_facts(None, None, None, the_heads())
    assert (facts["inputs"], facts["of"]) == ([], None)
    facts = array_facts(X[:0], Y[:0], None, the_heads())
    assert facts["inputs"] == []


def test_rows_are_spread():
    rows = spread_rows(1000, 10)
    np.testing.assert_array_equal(rows // 100, np.arange(10))
    np.testing.assert_array_equal(rows, spread_rows(1000, 10))
    np.testing.assert_array_equal(spread_rows(3, 10), [0, 1, 2])


def test_rows_of_tensors():
    rows = np.array([1, 5, 7])
    tensor = keras.ops.convert_to_tensor(X)
    np.testing.assert_array_equal(take_rows(tensor, rows), X[rows])


def test_labels_without_a_loss():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.compile("sgd")
    facts = array_facts(X, X, None, heads_of(model))
    assert facts["targets"][0]["form"] == "real"
    facts = array_facts(X, (Y, X), None, heads_of(model))
    assert len(facts["targets"]) == 2


def test_rows_with_one_entry_that_is_not_0():
    rows = np.eye(3, dtype="float32")[np.arange(20) % 3]
    weighted = rows * np.linspace(-1, 1, 20, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.CategoricalCrossentropy(from_logits=True))
    x = np.zeros((20, 2), "float32")
    for y, expected in ((rows, True), (weighted, True), (1 - rows, False)):
        [target] = array_facts(x, y, None, heads_of(model, x, y))["targets"]
        assert target["one_per_row"] == expected
