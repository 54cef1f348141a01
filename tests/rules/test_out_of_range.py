import pytest

from keras_concepts.recording import Recording
from keras_concepts.rules.out_of_range import has_numbers_out_of_range
from rule_facts import binary, classes, entry, findings, head, run

LAYERS = [
    {"path": "model/words", "class": "InputLayer"},
    {"path": "model/shops", "class": "InputLayer"},
    {
        "path": "model/of_shops",
        "class": "Embedding",
        "input_dim": 10,
        "inputs": ["model/shops"],
    },
    {
        "path": "model/of_words",
        "class": "Embedding",
        "input_dim": 50,
        "inputs": ["model/words"],
    },
]
INPUTS = ["model/words", "model/shops"]


def found(entries, **changes):
    facts = {"layers": LAYERS, "input_layers": INPUTS, **changes}
    recording = run([head()], entries, [classes()], [0.01] * 5, **facts)
    result = findings("id_out_of_range", recording)
    assert has_numbers_out_of_range(recording) == bool(result)
    return [(each.owner, each.severity, each.code) for each in result]


def ids(name, low, high):
    return entry(name=name, integer=True, min=low, max=high)


@pytest.mark.parametrize(
    ("high", "count"), [(9, 0), (9.7, 0), (10, 1), (1e6, 1)]
)
def test_an_id_without_a_row(high, count):
    # In the order of the model's inputs, or by their names in any order.
    for entries in (
        [ids("input_0", 0, 49), ids("input_1", 0, high)],
        [ids("shops", 0, high), ids("words", 0, 49)],
    ):
        rows = found(entries)
        assert len(rows) == count
        for owner, severity, code in rows:
            assert (owner, severity) == ("model/of_shops", "error")
            assert f"Embedding({int(high) + 1}, " in code


def test_a_negative_id():
    [(owner, _, code)] = found([ids("words", -1, 40), ids("shops", 0, 9)])
    assert owner == "model/of_words"
    assert "unique" in code


def test_what_is_not_known():
    assert not found([ids("words", None, None), ids("shops", None, None)])
    # Which of them is which input of the model?
    assert not found([ids("a", 0, 99), ids("b", 0, 99)])
    assert not found([ids("input", 0, 99)])
    large = [ids("input_0", 0, 99), ids("input_1", 0, 99)]
    assert not found(large, input_layers=[])
    assert found(large)


@pytest.mark.parametrize(
    ("given", "changes", "expected"),
    [
        (head(), {}, False),
        (head(), {"max": 10}, True),
        (head(), {"min": -1}, True),
        (head(ignore_class=255), {"max": 255}, False),
        (head(units=None), {"max": 10}, False),
        (head(loss="MeanSquaredError"), {"max": 10}, False),
        (binary(), {"min": 0, "max": 1}, False),
        (binary(), {"min": -1, "max": 1}, True),
    ],
)
def test_a_class_without_a_unit(given, changes, expected):
    recording = run([given], [], [classes(**changes)], [0.01] * 5)
    assert has_numbers_out_of_range(recording) == expected
    assert not has_numbers_out_of_range(Recording())
