import pytest

from keras_concepts.rules import data
from rule_facts import (
    STUCK,
    WELL,
    classes,
    entry,
    found,
    head,
    run,
)


def test_non_finite_data():
    good, bad = entry(), entry(non_finite=3)
    assert found("non_finite", run([head()], [good], [classes()])) == []
    assert found("non_finite", run([head()], [bad], [classes()])) == ["data"]
    target = classes(non_finite=1)
    assert found("non_finite", run([head()], [good], [target])) == ["data"]
    other = head(loss="mine", kind="other")
    assert found("non_finite", run([other], [good], [target])) == []
    # A model that takes NaN for missing.
    assert found("non_finite", run([head()], [bad], [classes()], WELL)) == []


@pytest.mark.parametrize(
    ("overlap", "repeated", "rows", "expected"),
    [
        (1.0, 0.0, 100, [""]),
        (data._OVERLAP, 0.0, 100, [""]),
        (0.99 * data._OVERLAP, 0.0, 100, []),
        (0.5, 0.25, 100, []),
        (0.5, 0.24, 100, [""]),
        (1.0, 0.0, 9, []),
        (None, None, 100, []),
    ],
)
def test_validation_overlap(overlap, repeated, rows, expected):
    validation = {"rows": rows, "overlap": overlap, "repeated": repeated}
    recording = run([head()], [entry()], [classes()], validation=validation)
    assert found("validation_overlap", recording) == expected


@pytest.mark.parametrize(
    ("constant", "rows", "others", "expected"),
    [
        (20, data._ENOUGH_ROWS, [], [""]),
        (20, data._ENOUGH_ROWS - 1, [], []),
        (19, 1000, [], []),
        # One that is there for its shape alone.
        (20, 1000, [entry(name="other")], []),
        (20, 1000, [entry(name="other", constant_features=20)], [""]),
    ],
)
def test_constant_input(constant, rows, others, expected):
    given = [entry(constant_features=constant), *others]
    recording = run([head()], given, [classes()], WELL, rows=rows)
    assert found("constant_input", recording) == expected


@pytest.mark.parametrize("facts", [{"features": None}, {"features": 0}])
def test_inputs_of_unknown_features(facts):
    recording = run([head()], [entry(**facts)], [classes()], STUCK)
    assert found("constant_input", recording) == []
