import pytest

from rule_facts import (
    STUCK,
    WELL,
    classes,
    findings,
    head,
    log,
    numbers,
    regression,
    run,
)


def two_outputs(a, b, **changes):
    """A classifier and a regression; losses of each in the logs."""
    heads = [head(output="a"), regression(output="b", **changes)]
    targets = [classes(output="a"), numbers(output="b")]
    made = run(heads, [], targets, [x + y for x, y in zip(a, b, strict=True)])
    return log(log(made, "a_loss", a), "b_loss", b)


@pytest.mark.parametrize(
    ("a", "b", "owners"),
    [
        (WELL, [1.0] * 10, ["b"]),
        (STUCK, [0.1] * 10, ["a"]),
        (WELL, [0.94] * 10, []),
        (WELL, [1.0] * 6 + [0.9, 0.7, 0.5, 0.3], []),
        (WELL[:4], [1.0] * 4, []),
    ],
)
def test_an_output_that_learns_nothing(a, b, owners):
    found = findings("no_progress", two_outputs(a, b))
    notes = [each for each in found if each.variant == "output"]
    assert [each.owner for each in notes] == owners
    assert all(each.severity == "info" for each in notes)


def test_an_output_without_weight():
    made = two_outputs(WELL, [1.0] * 10, loss_weight=0.0)
    assert findings("no_progress", made) == []


@pytest.mark.parametrize(
    ("validation", "expected"), [(1.1, ["output"]), (0.9, [])]
)
def test_rows_that_are_memorized(validation, expected):
    made = two_outputs(WELL, [0.9] * 10)
    made = log(made, "val_b_loss", [validation] * 10)
    found = [each.variant for each in findings("no_progress", made)]
    assert found == expected


def test_one_output():
    made = log(run([head()], [], [classes()], STUCK), "_loss", STUCK)
    assert [each.variant for each in findings("no_progress", made)] == [""]
